/* Ziplists, zipmaps and intsets, each to a list. */

#include "blocks.h"

static PyObject *string_of(const Word *word)
{
    char digits[MOST_LINE_BYTES];
    if (!word->is_number)
        return PyBytes_FromStringAndSize((const char *)word->start, (Py_ssize_t)word->length);
    return PyBytes_FromStringAndSize(digits, put_decimal(digits, word->number));
}

/* The strings of a block. ValueError if this is none. */
static PyObject *read_block(enum Form form, PyObject *const *args, Py_ssize_t nargs)
{
    Block block;
    Word word;
    PyObject *strings;
    int found = -1;
    if (nargs != 1 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "a block is bytes");
        return NULL;
    }
    strings = PyList_New(0);
    if (strings && !open_block(&block, form, (const unsigned char *)PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0])))
        while ((found = next_word(&block, &word)) > 0) {
            PyObject *string = string_of(&word);
            int failed = !string || PyList_Append(strings, string) < 0;
            Py_XDECREF(string);
            if (failed)
                break;
        }
    if (!found)
        return strings;
    Py_XDECREF(strings);
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "the data is no such block");
    return NULL;
}

/* read_ziplist(data) */
LEAF(read_ziplist)
{
    (void)module;
    return read_block(ZIPLIST, args, nargs);
}

/* read_zipmap(data) */
LEAF(read_zipmap)
{
    (void)module;
    return read_block(ZIPMAP, args, nargs);
}

/* read_intset(data) */
LEAF(read_intset)
{
    (void)module;
    return read_block(INTSET, args, nargs);
}
