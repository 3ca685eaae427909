/* Packed collections as the calls see them. */

#ifndef KVSERVER_PACKED_H
#define KVSERVER_PACKED_H

#include "calls.h"

#define MOST_MEMBERS 64
#define MOST_BYTES 64
/* The longest packed collection: the mark, and pairs with a separator behind each word. */
#define PACKED_BYTES (2 + MOST_MEMBERS * (2 * MOST_BYTES + 2))

/* The characters of a packed collection. */
typedef struct {
    const char *start, *stop;
} Text;

/* Begin to read an entry, or what a missing key is taken for. Return 1 if it is no packed collection of these marks. */
static inline int take_text(PyObject *entry, const char *marks, Text *text)
{
    Py_ssize_t length;
    if (!entry || !PyUnicode_CheckExact(entry) || PyUnicode_KIND(entry) != PyUnicode_1BYTE_KIND)
        return 1;
    length = PyUnicode_GET_LENGTH(entry);
    text->start = (const char *)PyUnicode_1BYTE_DATA(entry);
    text->stop = text->start + length;
    return length < 2 || text->start[1] || text->stop[-1] || !strchr(marks, text->start[0]) || !text->start[0];
}

/* The next NUL behind one; NULL if that was the last. */
static inline const char *next_nul(const Text *text, const char *nul)
{
    return memchr(nul + 1, 0, (size_t)(text->stop - nul - 1));
}

/* The place behind the NUL before a word that has this end; NULL if there is none. Counts the NULs that were passed. */
static inline const char *find_word(const Text *text, PyObject *word, char end, Py_ssize_t *passed)
{
    const char *name = PyBytes_AS_STRING(word), *nul;
    Py_ssize_t length = PyBytes_GET_SIZE(word);
    *passed = 0;
    /* No longer word stands there, and a client may ask for one of megabytes. A word that holds a NUL would find the end of
       one pair and the beginning of the next. */
    int may_stand = length <= MOST_BYTES && !memchr(name, 0, (size_t)length);
    for (nul = text->start + 1; nul; nul = next_nul(text, nul)) {
        if (may_stand && text->stop - nul > length + 1 && nul[length + 1] == end && !memcmp(nul + 1, name, (size_t)length))
            return nul + 1;
        ++*passed;
    }
    return NULL;
}

/* True if a member may stand in a packed collection. */
static inline int can_pack(PyObject *member)
{
    size_t length = (size_t)PyBytes_GET_SIZE(member);
    const char *bytes = PyBytes_AS_STRING(member);
    return length <= MOST_BYTES && !memchr(bytes, 0, length) && !memchr(bytes, 1, length);
}

/* A collection that is made of pieces. A piece that has no room is left out, and `is_full` is set. */
typedef struct {
    char bytes[PACKED_BYTES];
    Py_ssize_t used;
    int is_full;
} Pieces;

static inline void put(Pieces *pieces, const char *from, Py_ssize_t length)
{
    if (length > PACKED_BYTES - pieces->used) {
        pieces->is_full = 1;
        return;
    }
    memcpy(pieces->bytes + pieces->used, from, (size_t)length);
    pieces->used += length;
}

static inline void put_word(Pieces *pieces, PyObject *word, const char *end)
{
    put(pieces, PyBytes_AS_STRING(word), PyBytes_GET_SIZE(word));
    put(pieces, end, 1);
}

/* Let a call have made this collection. Return as a Call does. */
static inline int change_to(Outcome *outcome, const Pieces *pieces)
{
    if (pieces->is_full)
        return 1;
    outcome->changed = PyUnicode_DecodeLatin1(pieces->bytes, pieces->used, NULL);
    outcome->is_changed = 1;
    return outcome->changed ? 0 : -1;
}

#endif
