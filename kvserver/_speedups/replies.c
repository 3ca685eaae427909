/* cut_replies: the replies of a run of calls, by those who have sent them. */

#include "leaves.h"

/* Read the number of a reply's first line and go behind that line. False if it is not whole, or longer than any data. */
static int read_length(const char **at, const char *end, Py_ssize_t *number)
{
    const char *p = *at;
    int negative = p < end && *p == '-';
    Py_ssize_t found = 0;
    p += negative;
    if (p == end || *p == '\r')
        return 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (found > PY_SSIZE_T_MAX / 100)
            return 0;
        found = found * 10 + (*p - '0');
    }
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return 0;
    *at = p + 2;
    *number = negative ? -found : found;
    return 1;
}

/* Go behind the reply that begins here, with all that stands in it. False if it is not whole. */
static int pass_reply(const char **at, const char *end)
{
    const char *p = *at;
    Py_ssize_t missing = 1, length;
    for (; missing; missing--) {
        char kind;
        if (p == end)
            return 0;
        kind = *p++;
        switch (kind) {
        case '$':
        case '=':
        case '!':
            if (!read_length(&p, end, &length))
                return 0;
            if (length >= 0) {
                if (end - p < 2 || length > end - p - 2)
                    return 0;
                p += length + 2;
            }
            break;
        case '*':
        case '~':
        case '>':
        case '%':
        case '|':
            /* Each of what follows takes three bytes at least. */
            if (!read_length(&p, end, &length) || length > (end - p) / 3)
                return 0;
            if (length > 0)
                missing += kind == '%' || kind == '|' ? 2 * length : length;
            /* Attributes stand before the reply that they are of. */
            missing += kind == '|';
            break;
        default:
            do {
                p = memchr(p, '\r', (size_t)(end - p));
                if (!p || end - p < 2)
                    return 0;
                p++;
            } while (*p != '\n');
            p++;
        }
    }
    *at = p;
    return 1;
}

/* cut_replies(data, queues) */
LEAF(cut_replies)
{
    const char *p, *end;
    PyObject *pieces;
    Py_ssize_t i;
    if (nargs != 2 || !PyBytes_CheckExact(args[0]) || !PyList_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "cut_replies takes bytes and queues, which are a list");
        return NULL;
    }
    p = PyBytes_AS_STRING(args[0]);
    end = p + PyBytes_GET_SIZE(args[0]);
    pieces = PyList_New(0);
    for (i = 0; pieces && i < PyList_GET_SIZE(args[1]); i++) {
        const char *start = p;
        PyObject *piece;
        int failed;
        Py_ssize_t count;
        if (!PyList_Check(PyList_GET_ITEM(args[1], i))) {
            PyErr_SetString(PyExc_TypeError, "a queue is a list");
            Py_CLEAR(pieces);
            break;
        }
        for (count = PyList_GET_SIZE(PyList_GET_ITEM(args[1], i)); count; count--)
            if (!pass_reply(&p, end)) {
                PyErr_SetString(PyExc_ValueError, "a reply is not whole");
                Py_CLEAR(pieces);
                return NULL;
            }
        piece = PyBytes_FromStringAndSize(start, p - start);
        failed = !piece || PyList_Append(pieces, piece);
        Py_XDECREF(piece);
        if (failed)
            Py_CLEAR(pieces);
    }
    if (pieces && p < end) {
        PyErr_SetString(PyExc_ValueError, "there are more replies");
        Py_CLEAR(pieces);
    }
    return pieces;
}
