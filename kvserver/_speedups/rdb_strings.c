/* Strings of RDB files, written many at a time. */

#include "leaves.h"

#define MOST_LENGTH_BYTES 9
/* No integer of 32 bits has more digits, or digits and a sign. */
#define MOST_INTEGER_LENGTH 11

/* True if the string is the decimal of an integer of 32 bits, as Redis writes it. */
static int is_integer(const char *string, Py_ssize_t length, long long *number)
{
    Py_ssize_t i = string[0] == '-';
    if (length - i < 1 || length > MOST_INTEGER_LENGTH || (string[i] == '0' && length > 1))
        return 0;
    for (*number = 0; i < length; i++) {
        if (string[i] < '0' || string[i] > '9')
            return 0;
        *number = *number * 10 + (string[i] - '0');
    }
    if (string[0] == '-')
        *number = -*number;
    return *number >= -2147483648LL && *number <= 2147483647LL;
}

static unsigned char *put_big_endian(unsigned char *to, uint64_t number, int size)
{
    while (size--)
        *to++ = (unsigned char)(number >> 8 * size);
    return to;
}

static unsigned char *put_length(unsigned char *to, uint64_t length)
{
    if (length < 1 << 6)
        return put_big_endian(to, length, 1);
    if (length < 1 << 14)
        return put_big_endian(to, 0x4000 | length, 2);
    *to++ = length >> 32 ? 0x81 : 0x80;
    return put_big_endian(to, length, length >> 32 ? 8 : 4);
}

static unsigned char *put_string(unsigned char *to, PyObject *string)
{
    const char *data = PyBytes_AS_STRING(string);
    Py_ssize_t length = PyBytes_GET_SIZE(string);
    long long number;
    if (length && is_integer(data, length, &number)) {
        int kind = number >= -128 && number < 128 ? 0 : number >= -32768 && number < 32768 ? 1 : 2, i;
        *to++ = (unsigned char)(0xC0 | kind);
        for (i = 0; i < 1 << kind; i++)
            *to++ = (unsigned char)((uint64_t)number >> 8 * i);
        return to;
    }
    to = put_length(to, (uint64_t)length);
    memcpy(to, data, (size_t)length);
    return to + length;
}

/* write_strings(head, size, strings) */
LEAF(write_strings)
{
    PyObject *made;
    unsigned char *to;
    Py_ssize_t size, bytes = 0, i;
    (void)module;
    if (nargs != 3 || !PyBytes_Check(args[0]) || !PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "write_strings takes bytes, a number and a list");
        return NULL;
    }
    size = PyLong_AsSsize_t(args[1]);
    if (size <= 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "no group has so many strings");
        return NULL;
    }
    for (i = 0; i < PyList_GET_SIZE(args[2]); i++) {
        PyObject *string = PyList_GET_ITEM(args[2], i);
        if (!PyBytes_Check(string)) {
            PyErr_SetString(PyExc_TypeError, "write_strings takes a list of bytes");
            return NULL;
        }
        bytes += PyBytes_GET_SIZE(string) + MOST_LENGTH_BYTES + (i % size ? 0 : PyBytes_GET_SIZE(args[0]));
    }
    made = PyBytes_FromStringAndSize(NULL, bytes);
    if (!made)
        return NULL;
    to = (unsigned char *)PyBytes_AS_STRING(made);
    for (i = 0; i < PyList_GET_SIZE(args[2]); i++) {
        if (i % size == 0) {
            memcpy(to, PyBytes_AS_STRING(args[0]), (size_t)PyBytes_GET_SIZE(args[0]));
            to += PyBytes_GET_SIZE(args[0]);
        }
        to = put_string(to, PyList_GET_ITEM(args[2], i));
    }
    _PyBytes_Resize(&made, to - (unsigned char *)PyBytes_AS_STRING(made));
    return made;
}
