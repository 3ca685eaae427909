/* pack_short: requests to the bytes that a client sends for them. */

#include "leaves.h"

/* The bytes of a number in digits. */
static inline Py_ssize_t digits_of(Py_ssize_t number)
{
    Py_ssize_t count = 1;
    while (number /= 10)
        count++;
    return count;
}

/* The bytes of a request as RESP; -1 with an exception, or without one if its words have more than so many. */
static Py_ssize_t packed_bytes(PyObject *request, Py_ssize_t most)
{
    Py_ssize_t total, words = 0, i;
    if (!PyList_Check(request)) {
        PyErr_SetString(PyExc_TypeError, "a request is a list");
        return -1;
    }
    total = digits_of(PyList_GET_SIZE(request)) + 3;
    for (i = 0; i < PyList_GET_SIZE(request); i++) {
        PyObject *word = argument_of(request, i);
        Py_ssize_t length;
        if (!word)
            return -1;
        length = PyBytes_GET_SIZE(word);
        /* This is the subtraction, so that no sum is too large. */
        if (length > most - words)
            return -1;
        words += length;
        total += digits_of(length) + 5 + length;
    }
    return total;
}

/* The bytes of requests as RESP; -1 with an exception, or without one if the words of one have more than so many. */
static Py_ssize_t packed_bytes_of_all(PyObject *requests, Py_ssize_t most)
{
    Py_ssize_t total = 0, i;
    for (i = 0; i < PyList_GET_SIZE(requests); i++) {
        Py_ssize_t bytes = packed_bytes(PyList_GET_ITEM(requests, i), most);
        if (bytes < 0)
            return -1;
        if (bytes > PY_SSIZE_T_MAX / 2 - total) {
            PyErr_NoMemory();
            return -1;
        }
        total += bytes;
    }
    return total;
}

/* Write requests as RESP: no Python code runs between counting their bytes and this. */
static void put_requests(char *to, PyObject *requests)
{
    Py_ssize_t i, j;
    for (i = 0; i < PyList_GET_SIZE(requests); i++) {
        PyObject *request = PyList_GET_ITEM(requests, i);
        to = put_line(to, '*', PyList_GET_SIZE(request));
        for (j = 0; j < PyList_GET_SIZE(request); j++) {
            PyObject *word = PyList_GET_ITEM(request, j);
            size_t length = (size_t)PyBytes_GET_SIZE(word);
            to = put_line(to, '$', (long long)length);
            memcpy(to, PyBytes_AS_STRING(word), length);
            to += length;
            *to++ = '\r';
            *to++ = '\n';
        }
    }
}

/* pack_short(requests, most_bytes) */
LEAF(pack_short)
{
    PyObject *packed;
    Py_ssize_t total, most;
    if (nargs != 2 || !PyList_Check(args[0]) || !PyLong_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "pack_short takes a list and an integer");
        return NULL;
    }
    most = PyLong_AsSsize_t(args[1]);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    total = packed_bytes_of_all(args[0], most);
    if (total < 0) {
        if (PyErr_Occurred())
            return NULL;
        Py_RETURN_NONE;
    }
    packed = PyBytes_FromStringAndSize(NULL, total);
    if (packed)
        put_requests(PyBytes_AS_STRING(packed), args[0]);
    return packed;
}

/* encode_short(requests, time_ms, most_bytes) */
LEAF(encode_short)
{
    PyObject *record;
    Py_ssize_t total, most;
    char line[sizeof "#EXACT" + MOST_LINE_BYTES], header[RECORD_HEADER_BYTES + 1];
    long long time_ms;
    size_t line_length;
    if (nargs != 3 || !PyList_Check(args[0]) || !PyLong_Check(args[1]) || !PyLong_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "encode_short takes a list and two integers");
        return NULL;
    }
    time_ms = PyLong_AsLongLong(args[1]);
    most = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred())
        return NULL;
    if (time_ms < 0) {
        PyErr_SetString(PyExc_ValueError, "a time is not negative");
        return NULL;
    }
    total = packed_bytes_of_all(args[0], most);
    if (total < 0 && PyErr_Occurred())
        return NULL;
    memcpy(line, "#EXACT", sizeof "#EXACT" - 1);
    line_length = (size_t)(put_line(line + sizeof "#EXACT" - 1, ':', time_ms) - line);
    if (total < 0 || total + (Py_ssize_t)line_length > most)
        Py_RETURN_NONE;
    record = PyBytes_FromStringAndSize(NULL, RECORD_HEADER_BYTES + (Py_ssize_t)line_length + total);
    if (record) {
        char *to = PyBytes_AS_STRING(record), *payload = to + RECORD_HEADER_BYTES;
        memcpy(payload, line, line_length);
        put_requests(payload + line_length, args[0]);
        PyOS_snprintf(header, sizeof header, "KVJ2%012zu%08x", line_length + (size_t)total,
                      (unsigned int)crc_of(payload, (Py_ssize_t)line_length + total));
        memcpy(to, header, RECORD_HEADER_BYTES);
    }
    return record;
}
