/* cut_replies: the replies of a run of calls, one by one. */

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

/* cut_replies(data) */
LEAF(cut_replies)
{
    const char *p, *end;
    PyObject *replies;
    if (nargs != 1 || !PyBytes_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "cut_replies takes bytes");
        return NULL;
    }
    p = PyBytes_AS_STRING(args[0]);
    end = p + PyBytes_GET_SIZE(args[0]);
    replies = PyList_New(0);
    while (replies && p < end) {
        const char *start = p;
        PyObject *reply;
        int failed;
        if (!pass_reply(&p, end)) {
            PyErr_SetString(PyExc_ValueError, "a reply is not whole");
            Py_CLEAR(replies);
            break;
        }
        reply = PyBytes_FromStringAndSize(start, p - start);
        failed = !reply || PyList_Append(replies, reply);
        Py_XDECREF(reply);
        if (failed)
            Py_CLEAR(replies);
    }
    return replies;
}
