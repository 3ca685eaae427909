/* Decompression of LZF. */

#include "leaves.h"

#define LITERAL_LIMIT 32
/* The length of a reference that has a byte more. */
#define LONG_MATCH 9
/* Three bytes stand for so many at most. */
#define LONGEST_MATCH (LONG_MATCH + 255)

const char *decompress_into(const unsigned char *p, const unsigned char *end, unsigned char *to, unsigned char *limit)
{
    unsigned char *start = to;
    if (p == end)
        return "the data has another length than it says";
    while (p < end) {
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
    return to == limit ? NULL : "the data has another length than it says";
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
