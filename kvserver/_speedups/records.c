/* check_records and split_records: many records of the journal at once. */

#include "leaves.h"

#define LENGTH_DIGITS 12
#define MOST_TIME_DIGITS 20

static const char magic[] = "KVJ2", mark[] = "#EXACT:", link_name[] = "KVSERVER.LINK";

/* A record in a window. */
struct record {
    const char *payload, *requests, *behind;
    uint32_t checksum;
};

/* True if a whole record begins here, whose payload begins with its time. */
static int read_record(const char *at, const char *end, struct record *record)
{
    Py_ssize_t length = 0, i;
    uint32_t checksum = 0;
    const char *p = at, *digits;
    if (end - p < RECORD_HEADER_BYTES || memcmp(p, magic, sizeof magic - 1))
        return 0;
    p += sizeof magic - 1;
    for (i = 0; i < LENGTH_DIGITS; i++, p++) {
        if (*p < '0' || *p > '9')
            return 0;
        /* What is longer than the window is not whole, however much longer; no number overflows. */
        length = length > end - at ? length : length * 10 + (*p - '0');
    }
    for (; p < at + RECORD_HEADER_BYTES; p++) {
        if (*p >= '0' && *p <= '9')
            checksum = checksum << 4 | (uint32_t)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            checksum = checksum << 4 | (uint32_t)(*p - 'a' + 10);
        else
            return 0;
    }
    if (length > end - p || length < (Py_ssize_t)sizeof mark - 1 || memcmp(p, mark, sizeof mark - 1))
        return 0;
    record->payload = p;
    record->behind = p + length;
    record->checksum = checksum;
    p += sizeof mark - 1;
    for (digits = p; p < record->behind && *p >= '0' && *p <= '9'; p++)
        ;
    if (p == digits || p - digits > MOST_TIME_DIGITS || record->behind - p < 2 || p[0] != '\r' || p[1] != '\n')
        return 0;
    record->requests = p + 2;
    return 1;
}

/* The place in the window that is the second argument, or NULL with an exception; behind its end is its end. */
static const char *place_in(PyObject *const *args, const char **end)
{
    Py_ssize_t start;
    if (!PyBytes_CheckExact(args[0]) || !PyLong_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "a window is bytes, and a place in it an integer");
        return NULL;
    }
    start = PyLong_AsSsize_t(args[1]);
    if (start < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a place in a window is not negative");
        return NULL;
    }
    *end = PyBytes_AS_STRING(args[0]) + PyBytes_GET_SIZE(args[0]);
    return PyBytes_AS_STRING(args[0]) + Py_MIN(start, PyBytes_GET_SIZE(args[0]));
}

/* check_records(window, start) */
LEAF(check_records)
{
    const char *start, *p, *end;
    struct record record;
    Py_ssize_t count = 0;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "check_records takes bytes and an integer");
        return NULL;
    }
    start = p = place_in(args, &end);
    if (!p)
        return NULL;
    while (read_record(p, end, &record) && crc_of(record.payload, record.behind - record.payload) == record.checksum) {
        count++;
        p = record.behind;
    }
    return Py_BuildValue("nN", count, p == start ? Py_NewRef(args[1]) : PyLong_FromSsize_t(p - PyBytes_AS_STRING(args[0])));
}

/* True if this is the first request of a link. */
static int is_link(PyObject *request)
{
    PyObject *name = PyList_GET_ITEM(request, 0);
    return PyBytes_GET_SIZE(name) == sizeof link_name - 1 && !memcmp(PyBytes_AS_STRING(name), link_name, sizeof link_name - 1);
}

/* Append the requests of a record. 0, with none of them appended, if they are unusual; -1 with an exception. */
static int append_requests(PyObject *requests, const struct record *record)
{
    Py_ssize_t before = PyList_GET_SIZE(requests);
    const char *p = record->requests;
    while (p < record->behind) {
        PyObject *request = read_request(&p, record->behind);
        int failed;
        if (!request)
            break;
        failed = PyList_Append(requests, request);
        Py_DECREF(request);
        if (failed)
            break;
    }
    if (PyErr_Occurred())
        return -1;
    if (p == record->behind && PyList_GET_SIZE(requests) > before && !is_link(PyList_GET_ITEM(requests, before)))
        return 1;
    return PyList_SetSlice(requests, before, PyList_GET_SIZE(requests), NULL);
}

/* Append a number to a list; -1 with an exception. */
static int append_number(PyObject *numbers, Py_ssize_t number)
{
    PyObject *object = PyLong_FromSsize_t(number);
    int failed = object ? PyList_Append(numbers, object) : -1;
    Py_XDECREF(object);
    return failed;
}

/* split_records(window, start, most) */
LEAF(split_records)
{
    const char *window, *start, *p, *end;
    struct record record;
    PyObject *starts, *ends, *requests;
    Py_ssize_t most;
    if (nargs != 3 || !PyLong_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "split_records takes bytes and two integers");
        return NULL;
    }
    start = p = place_in(args, &end);
    if (!p)
        return NULL;
    most = PyLong_AsSsize_t(args[2]);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    window = PyBytes_AS_STRING(args[0]);
    starts = PyList_New(0);
    ends = PyList_New(0);
    requests = PyList_New(0);
    if (starts && ends && requests) {
        while (PyList_GET_SIZE(requests) < most && read_record(p, end, &record)) {
            if (append_requests(requests, &record) <= 0 || append_number(starts, p - window) ||
                append_number(ends, PyList_GET_SIZE(requests)))
                break;
            p = record.behind;
        }
        if (!PyErr_Occurred())
            return Py_BuildValue("NNNN", starts, ends, requests,
                                 p == start ? Py_NewRef(args[1]) : PyLong_FromSsize_t(p - window));
    }
    Py_XDECREF(starts);
    Py_XDECREF(ends);
    Py_XDECREF(requests);
    return NULL;
}
