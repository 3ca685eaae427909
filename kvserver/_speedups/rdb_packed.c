/* Bodies of small collections in RDB files to packed collections. */

#include "blocks.h"
#include "rdb_parts.h"
#include "score_texts.h"

/* Besides the forms of blocks: counted strings, with doubles or texts as scores behind them; nodes: ziplists, and others. */
enum { STRINGS = 'S', DOUBLES = 'D', TEXTS = 'T', ZIPLISTS = 'Q', NODES = 'N' };
enum { PLAIN_NODE = 1, PACKED_NODE = 2 };
enum { NAN_SCORE = 253, POSITIVE_INFINITY, NEGATIVE_INFINITY };
/* A longer block is not looked at. Redis writes none that could be packed. */
#define BLOCK_BYTES (1 << 14)
/* The places of a table in which members are found by their digest. */
#define PLACES 256

/* A collection that is put together: its text so far, where its names begin in there, how long they are, and their scores.
   Where values follow the names, or scores, every other word is one. */
typedef struct {
    char mark;
    int has_values, has_scores, are_integers;
    Py_ssize_t words, names;
    Py_ssize_t starts[MOST_MEMBERS], lengths[MOST_MEMBERS];
    double scores[MOST_MEMBERS];
    Pieces pieces;
} Packing;

/* All functions here return -1 where the collection can't be packed, or makes no sense; perhaps with an exception. */

static int has_separator(const char *p, Py_ssize_t length)
{
    uint64_t found = 0, word;
    for (; length >= WORD_BYTES; p += WORD_BYTES, length -= WORD_BYTES) {
        memcpy(&word, p, WORD_BYTES);
        found |= has_zero(word) | has_zero(word ^ EACH_BYTE);
    }
    for (; length; p++, length--)
        found |= (unsigned char)*p <= 1;
    return found != 0;
}

static int note_score(Packing *packing, double score)
{
    /* Redis's listpacks hold no -0.0. */
    if (score != score || (score == 0 && signbit(score)))
        return -1;
    packing->scores[packing->names - 1] = score;
    packing->words++;
    return 0;
}

static int note_text_score(Packing *packing, const unsigned char *text, uint64_t length)
{
    char copy[MOST_BYTES + 1];
    double score;
    uint64_t i;
    if (length > MOST_BYTES)
        return -1;
    for (i = 0; i < length; i++) {
        /* The characters of all scores that Redis writes. */
        if (!text[i] || !strchr("0123456789+-.einf", text[i]))
            return -1;
        copy[i] = (char)text[i];
    }
    copy[length] = 0;
    score = PyOS_string_to_double(copy, NULL, NULL);
    if (score == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_ValueError))
            PyErr_Clear();
        return -1;
    }
    return note_score(packing, score);
}

static int add_word(Packing *packing, const Word *word)
{
    char digits[MOST_LINE_BYTES];
    const char *start = digits;
    Py_ssize_t length;
    long long number;
    int is_value = (packing->has_values || packing->has_scores) && packing->words & 1;
    if (is_value && packing->has_scores)
        return word->is_number ? note_score(packing, (double)word->number)
                               : note_text_score(packing, word->start, word->length);
    if (word->is_number) {
        length = put_decimal(digits, word->number);
    } else {
        if (word->length > MOST_BYTES)
            return -1;
        start = (const char *)word->start;
        length = (Py_ssize_t)word->length;
        if (has_separator(start, length))
            return -1;
        packing->are_integers = packing->are_integers && is_integer(word->start, length, &number);
    }
    if (!is_value) {
        if (packing->names == MOST_MEMBERS)
            return -1;
        packing->starts[packing->names] = packing->pieces.used;
        packing->lengths[packing->names++] = length;
    }
    put(&packing->pieces, start, length);
    put(&packing->pieces, packing->has_values && !is_value ? "\1" : "", 1);
    packing->words++;
    return 0;
}

static int add_block(Packing *packing, enum Form form, Bytes data, Py_ssize_t length)
{
    Block block;
    Word word;
    int found;
    if (open_block(&block, form, data, length) < 0)
        return -1;
    while ((found = next_word(&block, &word)) > 0)
        if (add_word(packing, &word) < 0)
            return -1;
    return found;
}

/* Read a string as a word, and go behind it. What it is decompressed into has room for so many bytes. */
static int take_string(Bytes *p, Bytes end, uint64_t most_bytes, unsigned char *room, uint64_t room_bytes, Word *word)
{
    Head head;
    Py_ssize_t taken = head_at(*p, end, &head);
    if (taken <= 0)
        return -1;
    *p += taken;
    if (head.is_integer) {
        make_number(word, signed_of(head.start, (int)head.stored));
    } else if (head.is_compressed) {
        if (head.length > most_bytes || head.length > room_bytes ||
            decompress_into(head.start, head.start + head.stored, room, room + head.length))
            return -1;
        make_string(word, room, head.length);
    } else {
        make_string(word, head.start, head.stored);
    }
    return 0;
}

/* Read a string that is a block. */
static int take_block(Packing *packing, enum Form form, Bytes *p, Bytes end, uint64_t most_bytes)
{
    unsigned char room[BLOCK_BYTES];
    Word word;
    if (take_string(p, end, most_bytes, room, sizeof room, &word) < 0 || word.is_number || word.length > BLOCK_BYTES)
        return -1;
    return add_block(packing, form, word.start, (Py_ssize_t)word.length);
}

/* Read a string that is one word. */
static int take_word(Packing *packing, Bytes *p, Bytes end, uint64_t most_bytes)
{
    unsigned char room[MOST_BYTES];
    Word word;
    return take_string(p, end, most_bytes, room, sizeof room, &word) < 0 ? -1 : add_word(packing, &word);
}

static int take_double_score(Packing *packing, Bytes *p, Bytes end)
{
    uint64_t bits;
    double score;
    if (end - *p < (Py_ssize_t)sizeof bits)
        return -1;
    bits = little_endian(*p, sizeof bits);
    memcpy(&score, &bits, sizeof score);
    *p += sizeof bits;
    return note_score(packing, score);
}

static int take_text_score(Packing *packing, Bytes *p, Bytes end)
{
    int length;
    if (*p >= end || **p == NAN_SCORE)
        return -1;
    length = *(*p)++;
    if (length >= POSITIVE_INFINITY)
        return note_score(packing, length == POSITIVE_INFINITY ? Py_HUGE_VAL : -Py_HUGE_VAL);
    if (end - *p < length)
        return -1;
    *p += length;
    return note_text_score(packing, *p - length, (uint64_t)length);
}

/* Read a node of a list. */
static int take_node(Packing *packing, Bytes *p, Bytes end, uint64_t most_bytes)
{
    uint64_t kind;
    Py_ssize_t taken = number_at(*p, end, &kind), before = packing->pieces.used;
    if (taken <= 0)
        return -1;
    *p += taken;
    if (kind == PACKED_NODE)
        return take_block(packing, LISTPACK, p, end, most_bytes);
    /* A node that is one string is not empty: its end is not all that was put. */
    return kind == PLAIN_NODE && !take_word(packing, p, end, most_bytes) && packing->pieces.used - before > 1 ? 0 : -1;
}

/* Read a count, and so many members or nodes. */
static int take_counted(Packing *packing, char form, Bytes *p, Bytes end, uint64_t most_bytes)
{
    uint64_t count;
    Py_ssize_t taken = number_at(*p, end, &count);
    int failed = taken <= 0;
    if (failed || count > MOST_MEMBERS)
        return -1;
    for (*p += taken; count && !failed; count--) {
        if (form == ZIPLISTS)
            failed = take_block(packing, ZIPLIST, p, end, most_bytes);
        else if (form == NODES)
            failed = take_node(packing, p, end, most_bytes);
        else
            failed = take_word(packing, p, end, most_bytes);
        if (!failed && form == DOUBLES)
            failed = take_double_score(packing, p, end);
        else if (!failed && form == TEXTS)
            failed = take_text_score(packing, p, end);
        else if (!failed && packing->has_values)
            failed = take_word(packing, p, end, most_bytes);
    }
    return failed ? -1 : 0;
}

/* True if a name stands there twice. */
static int has_double(const Packing *packing)
{
    unsigned char places[PLACES] = {0};
    Py_ssize_t i;
    for (i = 0; i < packing->names; i++) {
        const char *name = packing->pieces.bytes + packing->starts[i];
        size_t length = (size_t)packing->lengths[i], j;
        uint64_t digest = length, word;
        unsigned place;
        for (j = 0; j < length; j += WORD_BYTES) {
            word = 0;
            memcpy(&word, name + j, length - j < WORD_BYTES ? length - j : WORD_BYTES);
            digest = (digest ^ word) * 0x9E3779B97F4A7C15u;
            digest ^= digest >> 32;
        }
        for (place = (unsigned)(digest % PLACES); places[place]; place = (place + 1) % PLACES) {
            Py_ssize_t other = places[place] - 1;
            const char *other_name = packing->pieces.bytes + packing->starts[other];
            if ((size_t)packing->lengths[other] == length && !memcmp(other_name, name, length))
                return 1;
        }
        places[place] = (unsigned char)(i + 1);
    }
    return 0;
}

static int comes_before(const Packing *packing, Py_ssize_t one, Py_ssize_t other)
{
    Py_ssize_t length = packing->lengths[one], other_length = packing->lengths[other];
    int order;
    if (packing->scores[one] != packing->scores[other])
        return packing->scores[one] < packing->scores[other];
    order = memcmp(packing->pieces.bytes + packing->starts[one], packing->pieces.bytes + packing->starts[other],
                   (size_t)(length < other_length ? length : other_length));
    return order ? order < 0 : length < other_length;
}

/* Put the members of a sorted set in order, each with its score. */
static PyObject *in_order(const Packing *packing)
{
    Pieces pieces;
    Py_ssize_t order[MOST_MEMBERS], i, j;
    for (i = 0; i < packing->names; i++) {
        /* Most of them come in order. */
        for (j = i; j && comes_before(packing, i, order[j - 1]); j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
    pieces.used = pieces.is_full = 0;
    put(&pieces, "z", 2);
    for (i = 0; i < packing->names; i++) {
        put(&pieces, packing->pieces.bytes + packing->starts[order[i]], packing->lengths[order[i]]);
        put(&pieces, "\1", 1);
        if (put_score(&pieces, packing->scores[order[i]]) < 0)
            return NULL;
    }
    return pieces.is_full ? NULL : PyUnicode_DecodeLatin1(pieces.bytes, pieces.used, NULL);
}

PyObject *pack_body(Bytes p, Bytes end, const char *packing_of_type, uint64_t most_bytes)
{
    Packing packing;
    char form = packing_of_type[1];
    int failed, is_block = form == LISTPACK || form == ZIPLIST || form == ZIPMAP || form == INTSET;
    packing.mark = packing_of_type[0];
    packing.has_values = packing.mark == 'h';
    packing.has_scores = packing.mark == 'z';
    packing.are_integers = packing.mark == 's';
    packing.words = packing.names = packing.pieces.used = packing.pieces.is_full = 0;
    put(&packing.pieces, &packing.mark, 1);
    put(&packing.pieces, "", 1);
    failed = is_block ? take_block(&packing, (enum Form)form, &p, end, most_bytes)
                      : take_counted(&packing, form, &p, end, most_bytes);
    if (failed || p != end || !packing.names || packing.pieces.is_full)
        return NULL;
    if ((packing.has_values || packing.has_scores) && packing.words != 2 * packing.names)
        return NULL;
    if (packing.mark != 'l' && has_double(&packing))
        return NULL;
    if (packing.has_scores)
        return in_order(&packing);
    if (packing.are_integers)
        packing.pieces.bytes[0] = 'i';
    return PyUnicode_DecodeLatin1(packing.pieces.bytes, packing.pieces.used, NULL);
}

/* packed_of(body, packing, most_bytes) */
LEAF(packed_of)
{
    Bytes body;
    uint64_t most_bytes;
    PyObject *packed;
    (void)module;
    if (nargs != 3 || !PyBytes_Check(args[0]) || !is_packing(args[1]) || !PyLong_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "packed_of takes a body, a packing and a number");
        return NULL;
    }
    most_bytes = PyLong_AsUnsignedLongLong(args[2]);
    if (PyErr_Occurred())
        return NULL;
    body = (Bytes)PyBytes_AS_STRING(args[0]);
    packed = pack_body(body, body + PyBytes_GET_SIZE(args[0]), PyBytes_AS_STRING(args[1]), most_bytes);
    if (!packed && !PyErr_Occurred())
        Py_RETURN_NONE;
    return packed;
}
