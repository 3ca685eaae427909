/* decode and count_alike: requests out of the bytes of a read, and a look at them. */

#include "leaves.h"

/* A number of more digits is longer than any read. */
#define MOST_DIGITS 9
/* The fewest bytes that an argument takes: $0 and two line ends. */
#define LEAST_BYTES 6
/* So many names are kept, and none that is longer than those of commands. */
#define NAMES 128
#define MOST_NAME_BYTES 20

/* Read digits up to a line's end, as Redis writes them, and go behind that. -1 if they are none, or not whole. */
static inline Py_ssize_t read_number(const char **at, const char *end)
{
    const char *p = *at;
    Py_ssize_t number;
    if (p == end || *p < '0' || *p > '9')
        return -1;
    number = *p++ - '0';
    /* No number but 0 begins with a 0. */
    while (number && p < end && *p >= '0' && *p <= '9') {
        if (p - *at == MOST_DIGITS)
            return -1;
        number = number * 10 + (*p++ - '0');
    }
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return -1;
    *at = p + 2;
    return number;
}

/* The name of a request, most often an object that was one before: it knows its hash, and is found at once in a mapping. The
   numbers tell the names of hot commands apart. */
static PyObject *name_of(const char *from, Py_ssize_t length)
{
    static PyObject *names[NAMES];
    PyObject **place, *name;
    if (!length || length > MOST_NAME_BYTES)
        return PyBytes_FromStringAndSize(from, length);
    place = &names[((unsigned char)from[0] * 31 + (unsigned char)from[length / 2] * 35 + (size_t)length * 3) % NAMES];
    name = *place;
    if (name && PyBytes_GET_SIZE(name) == length && !memcmp(PyBytes_AS_STRING(name), from, (size_t)length))
        return Py_NewRef(name);
    name = PyBytes_FromStringAndSize(from, length);
    if (name)
        Py_XSETREF(*place, Py_NewRef(name));
    return name;
}

PyObject *read_request(const char **at, const char *end)
{
    const char *p = *at;
    PyObject *request;
    Py_ssize_t count, i;
    if (p == end || *p++ != '*')
        return NULL;
    count = read_number(&p, end);
    /* Nothing is allocated that was only declared. */
    if (count <= 0 || count > (end - p) / LEAST_BYTES)
        return NULL;
    request = PyList_New(count);
    if (!request)
        return NULL;
    for (i = 0; i < count; i++) {
        PyObject *argument;
        Py_ssize_t length;
        if (p == end || *p++ != '$')
            break;
        length = read_number(&p, end);
        /* Redis does not ask which two bytes end the argument. */
        if (length < 0 || end - p < 2 || length > end - p - 2)
            break;
        argument = i ? PyBytes_FromStringAndSize(p, length) : name_of(p, length);
        if (!argument)
            break;
        PyList_SET_ITEM(request, i, argument);
        p += length + 2;
    }
    if (i < count) {
        Py_DECREF(request);
        return NULL;
    }
    *at = p;
    return request;
}

/* decode(data, most) */
LEAF(decode)
{
    const char *start, *p, *end;
    PyObject *requests, *rest, *found;
    Py_ssize_t most;
    if (nargs != 2 || !PyBytes_CheckExact(args[0]) || !PyLong_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "decode takes bytes and an integer");
        return NULL;
    }
    most = PyLong_AsSsize_t(args[1]);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    start = p = PyBytes_AS_STRING(args[0]);
    end = start + PyBytes_GET_SIZE(args[0]);
    requests = PyList_New(0);
    if (!requests)
        return NULL;
    while (PyList_GET_SIZE(requests) < most) {
        PyObject *request = read_request(&p, end);
        int failed;
        if (!request)
            break;
        failed = PyList_Append(requests, request);
        Py_DECREF(request);
        if (failed)
            break;
    }
    if (PyErr_Occurred()) {
        Py_DECREF(requests);
        return NULL;
    }
    rest = p == start ? Py_NewRef(args[0]) : PyBytes_FromStringAndSize(p, end - p);
    found = rest ? PyTuple_Pack(2, requests, rest) : NULL;
    Py_XDECREF(rest);
    Py_DECREF(requests);
    return found;
}

/* count_alike(requests, start, name, width) */
LEAF(count_alike)
{
    Py_ssize_t start, width, length, i;
    if (nargs != 4 || !PyList_Check(args[0]) || !PyLong_Check(args[1]) || !PyBytes_CheckExact(args[2]) ||
        !PyLong_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "count_alike takes a list, an integer, bytes and an integer");
        return NULL;
    }
    start = PyLong_AsSsize_t(args[1]);
    width = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred())
        return NULL;
    if (start < 0 || width < 1) {
        PyErr_SetString(PyExc_ValueError, "count_alike begins at a request, and counts a name");
        return NULL;
    }
    length = PyBytes_GET_SIZE(args[2]);
    for (i = start; i < PyList_GET_SIZE(args[0]); i++) {
        PyObject *request = PyList_GET_ITEM(args[0], i), *name;
        if (!PyList_Check(request)) {
            PyErr_SetString(PyExc_TypeError, "a request is a list");
            return NULL;
        }
        if (PyList_GET_SIZE(request) != width)
            break;
        name = PyList_GET_ITEM(request, 0);
        if (name != args[2] && !(PyBytes_CheckExact(name) && PyBytes_GET_SIZE(name) == length &&
                                 !memcmp(PyBytes_AS_STRING(name), PyBytes_AS_STRING(args[2]), (size_t)length)))
            break;
    }
    return PyLong_FromSsize_t(i - Py_MIN(start, i));
}
