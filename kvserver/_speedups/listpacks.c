/* Listpacks, read and written. */

#include "listpacks.h"

/* Append the strings between two places. NULL, or what is wrong; with an exception where memory has ended. */
static const char *read_entries(const unsigned char *p, const unsigned char *end, PyObject *strings)
{
    while (p < end) {
        Entry entry;
        PyObject *string;
        int is_appended;
        const char *problem = next_entry(&p, end, &entry);
        if (problem)
            return problem;
        string = entry_string(&entry);
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
    Py_ssize_t length;
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
    if (is_listpack(data, length)) {
        problem = read_entries(data + HEAD_BYTES, data + length - 1, strings);
        if (!problem && !has_count(data, PyList_GET_SIZE(strings)))
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
