/* Decompression of LZF. */

#include "leaves.h"

#define LITERAL_LIMIT 32
/* The length of a reference that has a byte more. */
#define LONG_MATCH 9
/* Three bytes stand for so many at most. */
#define LONGEST_MATCH (LONG_MATCH + 255)

/* Take items up to the end, or until these have given `most` bytes. `start` is where the output begins, of which some may be
   there. NULL, or what is wrong; then neither of the two places has moved. */
static const char *expand_items(const unsigned char **from, const unsigned char *end, const unsigned char *start,
                                unsigned char **into, const unsigned char *limit, Py_ssize_t most)
{
    const unsigned char *p = *from;
    unsigned char *to = *into;
    while (p < end && to - *into < most) {
        Py_ssize_t count, distance;
        unsigned char control = *p++;
        if (control < LITERAL_LIMIT) {
            count = control + 1;
            if (end - p < count)
                return "the data ends inside a literal";
            if (limit - to < count)
                return "the data has another length than it says";
            memcpy(to, p, (size_t)count);
            p += count;
            to += count;
            continue;
        }
        count = (control >> 5) + 2;
        if (count == LONG_MATCH && p < end)
            count += *p++;
        if (p == end)
            return "the data ends inside a reference";
        distance = ((control & 31) << 8 | *p++) + 1;
        if (to - start < distance)
            return "a reference points before the start";
        if (limit - to < count)
            return "the data has another length than it says";
        /* It may reach into what it makes itself. */
        for (; count; count--, to++)
            *to = to[-distance];
    }
    *from = p;
    *into = to;
    return NULL;
}

const char *decompress_into(const unsigned char *p, const unsigned char *end, unsigned char *to, unsigned char *limit)
{
    const char *problem;
    if (p == end)
        return "the data has another length than it says";
    problem = expand_items(&p, end, to, &to, limit, PY_SSIZE_T_MAX);
    return problem ? problem : to == limit ? NULL : "the data has another length than it says";
}

int can_be_so_long(Py_ssize_t compressed_bytes, uint64_t bytes)
{
    return bytes <= (uint64_t)compressed_bytes / 3 * LONGEST_MATCH + LONGEST_MATCH;
}

/* decompress(data, length) */
LEAF(decompress)
{
    Py_buffer data;
    Py_ssize_t length;
    PyObject *found = NULL;
    const char *problem = "the data has another length than it says";
    (void)module;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "decompress takes data and a length");
        return NULL;
    }
    length = PyLong_AsSsize_t(args[1]);
    if (length == -1 && PyErr_Occurred())
        return NULL;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (length >= 0 && can_be_so_long(data.len, (uint64_t)length) && (found = PyBytes_FromStringAndSize(NULL, length))) {
        const unsigned char *p = data.buf;
        unsigned char *to = (unsigned char *)PyBytes_AS_STRING(found);
        problem = decompress_into(p, p + data.len, to, to + length);
        if (problem)
            Py_CLEAR(found);
    }
    PyBuffer_Release(&data);
    if (!found && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, problem);
    return found;
}

/* decompress_part(data, position, last, most) */
LEAF(decompress_part)
{
    Py_buffer data, last;
    Py_ssize_t position, most, room;
    unsigned char *output, *to;
    const unsigned char *p;
    const char *problem;
    PyObject *found = NULL;
    (void)module;
    if (nargs != 4) {
        PyErr_SetString(PyExc_TypeError, "decompress_part takes data, a position, what came before and a length");
        return NULL;
    }
    position = PyLong_AsSsize_t(args[1]);
    if (position == -1 && PyErr_Occurred())
        return NULL;
    most = PyLong_AsSsize_t(args[3]);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (PyObject_GetBuffer(args[2], &last, PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    if (position < 0 || position > data.len || most < 0 || most > PY_SSIZE_T_MAX / 2 - last.len) {
        PyErr_SetString(PyExc_ValueError, "no such place, or too much at once");
        goto end;
    }
    /* The last item may give some more than is asked for. */
    room = most + LONGEST_MATCH;
    output = PyMem_Malloc((size_t)(last.len + room));
    if (!output) {
        PyErr_NoMemory();
        goto end;
    }
    memcpy(output, last.buf, (size_t)last.len);
    p = (const unsigned char *)data.buf + position;
    to = output + last.len;
    problem = expand_items(&p, (const unsigned char *)data.buf + data.len, output, &to, to + room, most);
    if (problem)
        PyErr_SetString(PyExc_ValueError, problem);
    else
        found = Py_BuildValue("(y#n)", output + last.len, (Py_ssize_t)(to - output - last.len),
                              (Py_ssize_t)(p - (const unsigned char *)data.buf));
    PyMem_Free(output);
end:
    PyBuffer_Release(&last);
    PyBuffer_Release(&data);
    return found;
}
