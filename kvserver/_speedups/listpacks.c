/* Listpacks, read. */

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
