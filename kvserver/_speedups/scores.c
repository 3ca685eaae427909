/* ZADD on a packed sorted set: pairs of a member and the text of its score, in ascending order. */

#include "score_texts.h"

/* Scores in no more bytes are neither too big nor too small for a double. */
#define NUMBER_BYTES 17

/* The number that some digits are; -1 where they are too many, or none. */
static long long whole_of(const char *text, Py_ssize_t length)
{
    long long number = 0;
    Py_ssize_t i;
    if (!length || length > 15)
        return -1;
    for (i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

/* The double that a text is which a NUL follows. Return -1 with an exception. */
static int take_number(const char *text, Py_ssize_t length, double *number)
{
    long long whole = whole_of(text, length);
    if (whole >= 0) {
        *number = (double)whole;
        return 0;
    }
    *number = PyOS_string_to_double(text, NULL, NULL);
    return *number == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* True for a number without an exponent. */
static int is_usual(const char *text, Py_ssize_t length)
{
    Py_ssize_t i = length > 0 && text[0] == '-', digits = i;
    if (length > NUMBER_BYTES)
        return 0;
    while (i < length && text[i] >= '0' && text[i] <= '9')
        i++;
    if (i == digits)
        return 0;
    if (i < length && text[i] == '.') {
        digits = ++i;
        while (i < length && text[i] >= '0' && text[i] <= '9')
            i++;
        if (i == digits)
            return 0;
    }
    return i == length;
}

/* A member that gets a score. */
typedef struct {
    const char *name;
    Py_ssize_t length;
    double score;
} Member;

/* Tell if a pair comes before a member. Return -1 with an exception, and for what is no pair. */
static int is_before(const char *pair, const char *end, const Member *member)
{
    const char *name_end = memchr(pair, 1, (size_t)(end - pair));
    Py_ssize_t length, shorter;
    double score;
    int order;
    if (!name_end) {
        PyErr_SetString(PyExc_ValueError, "a sorted set has no pairs");
        return -1;
    }
    if (take_number(name_end + 1, end - name_end - 1, &score) < 0)
        return -1;
    if (score != member->score)
        return score < member->score;
    length = name_end - pair;
    shorter = length < member->length ? length : member->length;
    order = memcmp(pair, member->name, (size_t)shorter);
    return order ? order < 0 : length < member->length;
}

/* Put the pairs from one place up to another, but for one pair, if it stands there. */
static void put_but(Pieces *pieces, const Text *text, const char *from, const char *to, const char *left_out)
{
    if (left_out && left_out >= from && left_out < to) {
        put(pieces, from, left_out - from);
        from = next_nul(text, left_out) + 1;
    }
    put(pieces, from, to - from);
}

/* Put the pairs of a sorted set, but for one of them, with a member at its place. Return as a Call does. */
static int put_pairs_with(Pieces *pieces, const Text *text, const char *left_out, const Member *member)
{
    /* Where the pairs that stay begin, and behind the last one the end of all; and where each of them ends. */
    const char *starts[MOST_MEMBERS + 1], *ends[MOST_MEMBERS], *nul = text->start + 1, *next;
    Py_ssize_t count = 0, low = 0, high;
    for (; (next = next_nul(text, nul)); nul = next) {
        if (nul + 1 == left_out)
            continue;
        if (count == MOST_MEMBERS)
            return 1;
        starts[count] = nul + 1;
        ends[count++] = next;
    }
    starts[count] = text->stop;
    /* A score of many digits takes its time to be read. */
    for (high = count; low < high;) {
        Py_ssize_t middle = (low + high) / 2;
        int before = is_before(starts[middle], ends[middle], member);
        if (before < 0)
            return -1;
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    put_but(pieces, text, text->start, starts[low], left_out);
    put(pieces, member->name, member->length);
    put(pieces, "\1", 1);
    if (put_score(pieces, member->score) < 0)
        return -1;
    put_but(pieces, text, starts[low], text->stop, left_out);
    return 0;
}

/* Give a member, which the caller holds, a score. Return as a Call does. */
static int give(const Text *text, PyObject *word, double score, PyObject *config, long long most, Outcome *outcome)
{
    static PyObject *value_name, *entries_name;
    Pieces pieces;
    Member member = {PyBytes_AS_STRING(word), PyBytes_GET_SIZE(word), score};
    Py_ssize_t passed;
    int result;
    const char *found = find_word(text, word, 1, &passed);
    if (found) {
        const char *digits = found + member.length + 1;
        double present;
        if (take_number(digits, next_nul(text, digits - 1) - digits, &present) < 0)
            return -1;
        if (present == score)
            return reply_number(outcome, 0);
    } else {
        long long longest, entries;
        if (!can_pack(word))
            return 1;
        if (take_limit(config, &value_name, "zset_max_listpack_value", &longest) < 0 ||
            take_limit(config, &entries_name, "zset_max_listpack_entries", &entries) < 0)
            return -1;
        /* The mark has a NUL behind it, too. */
        if (member.length > longest || passed > most || passed - 1 >= entries)
            return 1;
    }
    pieces.used = pieces.is_full = 0;
    result = put_pairs_with(&pieces, text, found, &member);
    if (result)
        return result;
    reply_number(outcome, !found);
    return change_to(outcome, &pieces);
}

int call_add_score(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    Text text = {"z", NULL};
    PyObject *word;
    double score;
    int result;
    if (!has_words(request, 4) || (entry && take_text(entry, "z", &text)))
        return 1;
    if (!entry)
        text.stop = text.start + 2;
    word = PyList_GET_ITEM(request, 2);
    if (!is_usual(PyBytes_AS_STRING(word), PyBytes_GET_SIZE(word)))
        return 1;
    if (take_number(PyBytes_AS_STRING(word), PyBytes_GET_SIZE(word), &score) < 0)
        return -1;
    /* The configuration may run Python code, which may change the request. */
    word = Py_NewRef(PyList_GET_ITEM(request, 3));
    /* Redis's listpacks hold no -0.0. */
    result = give(&text, word, score + 0.0, config, most, outcome);
    Py_DECREF(word);
    return result;
}
