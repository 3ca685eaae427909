/* Lengths and strings of RDB files, and what else is made of them. */

#ifndef KVSERVER_RDB_PARTS_H
#define KVSERVER_RDB_PARTS_H

#include "leaves.h"

typedef const unsigned char *Bytes;

#define ENCODED 3
#define LZF 3
/* What a length, or a string, is that makes no sense. Memory that is not there counts as that, too: an exception says so. */
#define WRONG -1

static const int integer_bytes[] = {1, 2, 4};

/* What a string takes where it stands, and what it is. */
typedef struct {
    Bytes start;
    uint64_t stored, length;
    /* A compressed string, or one that is an integer: else it is its own bytes. */
    int is_compressed, is_integer;
} Head;

static inline uint64_t big_endian(Bytes p, int size)
{
    uint64_t number = 0;
    while (size--)
        number = number << 8 | *p++;
    return number;
}

/* The bytes that a length takes, 0 if it is not whole, or WRONG. */
static inline Py_ssize_t length_at(Bytes p, Bytes end, uint64_t *number, int *is_encoded)
{
    int size;
    if (p >= end)
        return 0;
    *is_encoded = 0;
    switch (p[0] >> 6) {
    case 0:
        *number = p[0];
        return 1;
    case ENCODED:
        *number = p[0] & 63;
        *is_encoded = 1;
        return 1;
    case 1:
        if (end - p < 2)
            return 0;
        *number = (uint64_t)(p[0] & 63) << 8 | p[1];
        return 2;
    default:
        if (p[0] != 0x80 && p[0] != 0x81)
            return WRONG;
        size = p[0] == 0x80 ? 4 : 8;
        if (end - p <= size)
            return 0;
        *number = big_endian(p + 1, size);
        return 1 + size;
    }
}

static inline Py_ssize_t number_at(Bytes p, Bytes end, uint64_t *number)
{
    int is_encoded;
    Py_ssize_t taken = length_at(p, end, number, &is_encoded);
    return taken > 0 && is_encoded ? WRONG : taken;
}

/* The bytes that a string takes, 0 if it is not whole, or WRONG. A string that is not whole may have a head. */
static inline Py_ssize_t head_at(Bytes p, Bytes end, Head *head)
{
    int is_encoded;
    uint64_t number;
    Py_ssize_t taken = length_at(p, end, &number, &is_encoded), more;
    head->start = NULL;
    if (taken <= 0)
        return taken;
    head->is_compressed = head->is_integer = 0;
    head->stored = head->length = number;
    if (is_encoded && number < 3) {
        head->is_integer = 1;
        head->stored = (uint64_t)integer_bytes[number];
        head->length = 0;
    } else if (is_encoded) {
        if (number != LZF)
            return WRONG;
        head->is_compressed = 1;
        more = number_at(p + taken, end, &head->stored);
        if (more <= 0)
            return more;
        taken += more;
        more = number_at(p + taken, end, &head->length);
        if (more <= 0)
            return more;
        taken += more;
    }
    head->start = p + taken;
    return (uint64_t)(end - head->start) < head->stored ? 0 : taken + (Py_ssize_t)head->stored;
}

/* The string that a head begins, all of which is there. NULL without an exception if it makes no sense. */
static inline PyObject *read_string(const Head *head, uint64_t most_bytes)
{
    PyObject *string;
    unsigned char *to;
    Py_ssize_t stored = (Py_ssize_t)head->stored;
    if (head->is_integer) {
        char digits[MOST_LINE_BYTES];
        int length = PyOS_snprintf(digits, sizeof digits, "%lld", signed_of(head->start, (int)stored));
        return PyBytes_FromStringAndSize(digits, length);
    }
    if (!head->is_compressed)
        return PyBytes_FromStringAndSize((const char *)head->start, stored);
    if (head->length > most_bytes || head->length > PY_SSIZE_T_MAX / 2 || !can_be_so_long(stored, head->length))
        return NULL;
    string = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)head->length);
    if (!string)
        return NULL;
    to = (unsigned char *)PyBytes_AS_STRING(string);
    if (decompress_into(head->start, head->start + stored, to, to + head->length))
        Py_CLEAR(string);
    return string;
}

static inline int is_too_long(const Head *head, uint64_t most_bytes)
{
    return head->start && (head->stored > most_bytes || head->length > most_bytes);
}

/* The first two arguments of a leaf, and the place that they tell. The caller releases the data. */
static inline Bytes place_of(PyObject *const *args, Py_buffer *data)
{
    Py_ssize_t position = PyLong_AsSsize_t(args[1]);
    if (position == -1 && PyErr_Occurred())
        return NULL;
    if (PyObject_GetBuffer(args[0], data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (position < 0 || position > data->len) {
        PyBuffer_Release(data);
        PyErr_SetString(PyExc_ValueError, "the data ends early");
        return NULL;
    }
    return (Bytes)data->buf + position;
}

/* True for a packing as `rdb_packed.py` says. */
static inline int is_packing(PyObject *packing)
{
    const char *characters;
    if (!PyBytes_Check(packing) || PyBytes_GET_SIZE(packing) != 2)
        return 0;
    characters = PyBytes_AS_STRING(packing);
    return characters[0] && characters[1] && strchr("hlsz", characters[0]) && strchr("LZMISDTQN", characters[1]);
}

/* The packed collection of a body, or NULL without an exception if it can't be packed. `packing` is two characters. */
PyObject *pack_body(Bytes p, Bytes end, const char *packing, uint64_t most_bytes);

#endif
