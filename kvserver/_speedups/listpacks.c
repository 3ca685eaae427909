/* Listpacks, read and written. */

#include "leaves.h"

#define HEAD_BYTES 6
#define OVERHEAD_BYTES 7
#define END 0xFF
#define UNCOUNTED 0xFFFF
#define SMALL_END 0x80

/* An entry: where its string is, or the integer that it is, and the bytes of encoding and data. */
typedef struct {
    const unsigned char *string;
    uint64_t length;
    long long number;
    uint64_t bytes;
} Entry;

static uint64_t little_endian(const unsigned char *p, int size)
{
    uint64_t number = 0;
    while (size--)
        number = number << 8 | p[size];
    return number;
}

/* Read an entry but for the copy of its length. `left` are the bytes before the listpack's end. NULL, or what is wrong. */
static const char *entry_at(const unsigned char *p, uint64_t left, Entry *entry)
{
    static const int integer_bytes[] = {2, 3, 4, 8};
    int head = 1, size = 0;
    entry->string = NULL;
    entry->length = 0;
    if (p[0] < SMALL_END) {
        entry->number = p[0];
    } else if (p[0] < 0xC0) {
        entry->length = p[0] & 63;
        entry->string = p + 1;
    } else if (p[0] < 0xF0) {
        head = 2;
        if (left < 2)
            return "the data ends inside an entry";
        entry->length = (uint64_t)(p[0] & 15) << 8 | p[1];
        entry->string = p + 2;
        if (p[0] < 0xE0) {
            entry->number = (p[0] & 31) << 8 | p[1];
            if (entry->number >= 1 << 12)
                entry->number -= 1 << 13;
            entry->length = 0;
            entry->string = NULL;
        }
    } else if (p[0] == 0xF0) {
        head = 5;
        if (left < 5)
            return "the data ends inside an entry";
        entry->length = little_endian(p + 1, 4);
        entry->string = p + 5;
    } else if (p[0] <= 0xF4) {
        size = integer_bytes[p[0] - 0xF1];
        if (left < 1 + (uint64_t)size)
            return "the data ends inside an entry";
        entry->number = (long long)little_endian(p + 1, size);
        if (size < 8 && entry->number >> (8 * size - 1))
            entry->number -= 1LL << 8 * size;
    } else {
        return "an entry has an unknown encoding";
    }
    entry->bytes = (uint64_t)head + (uint64_t)size + entry->length;
    return entry->bytes <= left ? NULL : "the data ends inside an entry";
}

/* Write the copy of a length, for reading backwards. Return how many bytes it has. */
static int copy_of(uint64_t length, unsigned char *copy)
{
    int size = length < 128 ? 1 : length < 16383 ? 2 : length < 2097151 ? 3 : length < 268435455 ? 4 : 5, i;
    for (i = 0; i < size; i++)
        copy[i] = (unsigned char)((length >> 7 * (size - 1 - i) & 127) | (i ? 128 : 0));
    return size;
}

static PyObject *string_of(const Entry *entry)
{
    char digits[MOST_LINE_BYTES];
    int length;
    if (entry->string)
        return PyBytes_FromStringAndSize((const char *)entry->string, (Py_ssize_t)entry->length);
    length = PyOS_snprintf(digits, sizeof digits, "%lld", entry->number);
    return PyBytes_FromStringAndSize(digits, length);
}

/* Append the strings between two places. NULL, or what is wrong; with an exception where memory has ended. */
static const char *read_entries(const unsigned char *p, const unsigned char *end, PyObject *strings)
{
    while (p < end) {
        unsigned char copy[5];
        Entry entry;
        PyObject *string;
        int size, is_appended;
        const char *problem = entry_at(p, (uint64_t)(end - p), &entry);
        if (problem)
            return problem;
        size = copy_of(entry.bytes, copy);
        p += entry.bytes;
        if (end - p < size)
            return "the last entry reaches into the end";
        if (memcmp(p, copy, (size_t)size))
            return "the copy of an entry's length is another one";
        p += size;
        string = string_of(&entry);
        is_appended = string && !PyList_Append(strings, string);
        Py_XDECREF(string);
        if (!is_appended)
            return "no memory";
    }
    return NULL;
}

/* read_listpack(data) */
LEAF(read_listpack)
{
    const unsigned char *data;
    const char *problem = "the data has another length than it says, or no end";
    PyObject *strings;
    Py_ssize_t length, count;
    (void)module;
    if (nargs != 1 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "read_listpack takes bytes");
        return NULL;
    }
    data = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    length = PyBytes_GET_SIZE(args[0]);
    strings = PyList_New(0);
    if (!strings)
        return NULL;
    if (length >= OVERHEAD_BYTES && little_endian(data, 4) == (uint64_t)length && data[length - 1] == END) {
        problem = read_entries(data + HEAD_BYTES, data + length - 1, strings);
        count = (Py_ssize_t)little_endian(data + 4, 2);
        if (!problem && count != UNCOUNTED && count != PyList_GET_SIZE(strings))
            problem = "the count is another one";
    }
    if (!problem)
        return strings;
    Py_DECREF(strings);
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, problem);
    return NULL;
}

/* No entry takes more bytes besides its string. */
#define MOST_OVERHEAD 10
/* The longest decimal of 64 bits. */
#define MOST_DECIMAL 20

/* True if the string is the decimal of an integer of 64 bits, as Redis writes it. */
static int is_integer(const unsigned char *string, Py_ssize_t length, long long *number)
{
    int is_negative = length && string[0] == '-';
    uint64_t most = (uint64_t)1 << 63, found = 0;
    Py_ssize_t i = is_negative;
    if (length - i < 1 || length > MOST_DECIMAL || (string[i] == '0' && length > 1))
        return 0;
    for (; i < length; i++) {
        unsigned digit = (unsigned)string[i] - '0';
        if (digit > 9 || found > (most - digit) / 10)
            return 0;
        found = found * 10 + digit;
    }
    if (!is_negative && found == most)
        return 0;
    *number = is_negative ? (long long)(0 - found) : (long long)found;
    return 1;
}

static unsigned char *put_bytes(unsigned char *to, uint64_t number, int size)
{
    for (; size; size--, number >>= 8)
        *to++ = (unsigned char)number;
    return to;
}

static unsigned char *put_integer(unsigned char *to, long long number)
{
    static const int sizes[] = {2, 3, 4, 8};
    int kind = 0;
    if (number >= 0 && number < SMALL_END) {
        *to++ = (unsigned char)number;
        return to;
    }
    if (number >= -4096 && number < 4096) {
        *to++ = (unsigned char)(0xC0 | ((uint64_t)number >> 8 & 31));
        *to++ = (unsigned char)number;
        return to;
    }
    while (sizes[kind] < 8 && (number < -(1LL << (8 * sizes[kind] - 1)) || number >= 1LL << (8 * sizes[kind] - 1)))
        kind++;
    *to++ = (unsigned char)(0xF1 + kind);
    return put_bytes(to, (uint64_t)number, sizes[kind]);
}

static unsigned char *put_entry(unsigned char *to, PyObject *string)
{
    unsigned char *start = to;
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(string);
    Py_ssize_t length = PyBytes_GET_SIZE(string);
    long long number;
    if (is_integer(data, length, &number)) {
        to = put_integer(to, number);
        return to + copy_of((uint64_t)(to - start), to);
    }
    if (length < 64) {
        *to++ = (unsigned char)(0x80 | length);
    } else if (length < 4096) {
        *to++ = (unsigned char)(0xE0 | length >> 8);
        *to++ = (unsigned char)length;
    } else {
        *to++ = 0xF0;
        to = put_bytes(to, (uint64_t)length, 4);
    }
    memcpy(to, data, (size_t)length);
    to += length;
    return to + copy_of((uint64_t)(to - start), to);
}

/* write_entries(strings) */
LEAF(write_entries)
{
    PyObject *made;
    unsigned char *to;
    Py_ssize_t bytes = 0, i;
    (void)module;
    if (nargs != 1 || !PyList_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "write_entries takes a list");
        return NULL;
    }
    for (i = 0; i < PyList_GET_SIZE(args[0]); i++) {
        PyObject *string = PyList_GET_ITEM(args[0], i);
        if (!PyBytes_Check(string)) {
            PyErr_SetString(PyExc_TypeError, "write_entries takes a list of bytes");
            return NULL;
        }
        if (PyBytes_GET_SIZE(string) > (Py_ssize_t)UINT32_MAX) {
            PyErr_SetString(PyExc_OverflowError, "no listpack has so long a string");
            return NULL;
        }
        bytes += PyBytes_GET_SIZE(string) + MOST_OVERHEAD;
    }
    made = PyBytes_FromStringAndSize(NULL, bytes);
    if (!made)
        return NULL;
    to = (unsigned char *)PyBytes_AS_STRING(made);
    for (i = 0; i < PyList_GET_SIZE(args[0]); i++)
        to = put_entry(to, PyList_GET_ITEM(args[0], i));
    _PyBytes_Resize(&made, to - (unsigned char *)PyBytes_AS_STRING(made));
    return made;
}
