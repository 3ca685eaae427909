/* The members of a JSON object that are strings, and pairs of keys and values on their way into shards. */

#include "keyspace.h"

/* The longest that an escape becomes, in UTF-8, is shorter than the escape itself. */
#define ESCAPE_DIGITS 4

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* The number that four hexadecimal digits tell, or -1. */
static long read_digits(const char *p, const char *end)
{
    long code = 0;
    int i;
    if (end - p < ESCAPE_DIGITS)
        return -1;
    for (i = 0; i < ESCAPE_DIGITS; i++) {
        char c = p[i];
        if (c >= '0' && c <= '9')
            code = code << 4 | (c - '0');
        else if (c >= 'a' && c <= 'f')
            code = code << 4 | (c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            code = code << 4 | (c - 'A' + 10);
        else
            return -1;
    }
    return code;
}

static char *write_utf8(char *to, long code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    } else {
        *to++ = (char)(0xF0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    }
    return to;
}

/* Read the escape behind a backslash. Returns what is behind it, or NULL if it is none. */
static const char *read_escape(const char *p, const char *end, char **to)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *letter;
    long code, low;
    if (p == end || !*p)
        return NULL;
    letter = strchr(letters, *p);
    if (letter) {
        *(*to)++ = meant[letter - letters];
        return p + 1;
    }
    if (*p != 'u')
        return NULL;
    code = read_digits(p + 1, end);
    p += 1 + ESCAPE_DIGITS;
    if (code < 0 || (code >= 0xDC00 && code < 0xE000))
        return NULL;
    if (code >= 0xD800 && code < 0xDC00) {
        if (end - p < 2 + ESCAPE_DIGITS || p[0] != '\\' || p[1] != 'u')
            return NULL;
        low = read_digits(p + 2, end);
        if (low < 0xDC00 || low >= 0xE000)
            return NULL;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        p += 2 + ESCAPE_DIGITS;
    }
    *to = write_utf8(*to, code);
    return p;
}

/* A string with escapes as bytes: `first` and `last` are where its text begins and ends. NULL if one is no escape. */
static PyObject *unescape(const char *first, const char *last)
{
    PyObject *string = PyBytes_FromStringAndSize(NULL, last - first);
    char *to;
    if (!string)
        return NULL;
    to = PyBytes_AS_STRING(string);
    while (first < last) {
        if (*first != '\\') {
            *to++ = *first++;
            continue;
        }
        first = read_escape(first + 1, last, &to);
        if (!first) {
            Py_DECREF(string);
            return NULL;
        }
    }
    /* This sets the string to NULL where it fails. */
    _PyBytes_Resize(&string, to - PyBytes_AS_STRING(string));
    return string;
}

/* 1 for UTF-8, 0 for what is none, -1 with an exception set. */
static int is_utf8(PyObject *string)
{
    PyObject *text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(string), PyBytes_GET_SIZE(string), NULL);
    if (text) {
        Py_DECREF(text);
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return -1;
    PyErr_Clear();
    return 0;
}

/* Read a string and go behind it. NULL without an exception if it is none. */
static PyObject *read_string(const char **at, const char *end)
{
    const char *p = *at, *first;
    int has_escapes = 0, is_ascii = 1;
    PyObject *string;
    if (p == end || *p++ != '"')
        return NULL;
    for (first = p; p < end && *p != '"'; p++) {
        unsigned char c;
        uint64_t word;
        /* Most strings are words of plain characters. */
        while (end - p > WORD_BYTES) {
            memcpy(&word, p, WORD_BYTES);
            if (has_escaped(word))
                break;
            if (word & HIGH_BITS)
                is_ascii = 0;
            p += WORD_BYTES;
        }
        if (*p == '"')
            break;
        c = (unsigned char)*p;
        if (c < 0x20)
            return NULL;
        if (c >= 0x80)
            is_ascii = 0;
        if (c == '\\') {
            has_escapes = 1;
            /* A quote behind it does not end the string. */
            if (++p == end)
                return NULL;
        }
    }
    if (p == end)
        return NULL;
    string = has_escapes ? unescape(first, p) : PyBytes_FromStringAndSize(first, p - first);
    if (string && !is_ascii && is_utf8(string) <= 0)
        Py_CLEAR(string);
    *at = p + 1;
    return string;
}

/* Read members up to the end into a dict. 1 if that went well, 0 if they are none, -1 with an exception set. */
static int read_all(const char *p, const char *end, PyObject *found, int *has_dollars)
{
    for (;;) {
        PyObject *name, *value = NULL;
        int failed;
        p = skip_space(p, end);
        name = read_string(&p, end);
        if (name) {
            *has_dollars |= *PyBytes_AS_STRING(name) == '$';
            p = skip_space(p, end);
            if (p < end && *p == ':') {
                p = skip_space(p + 1, end);
                value = read_string(&p, end);
            }
        }
        failed = value ? PyDict_SetItem(found, name, value) : 0;
        Py_XDECREF(name);
        if (!value)
            return PyErr_Occurred() ? -1 : 0;
        Py_DECREF(value);
        if (failed)
            return -1;
        p = skip_space(p, end);
        if (p == end)
            return 1;
        if (*p++ != ',')
            return 0;
    }
}

/* read_strings(text, start, end) */
LEAF(read_strings)
{
    PyObject *found;
    Py_ssize_t start, end, size;
    const char *text;
    int done, has_dollars = 0;
    if (nargs != 3 || !PyBytes_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "read_strings takes bytes and two positions");
        return NULL;
    }
    start = PyNumber_AsSsize_t(args[1], NULL);
    end = PyNumber_AsSsize_t(args[2], NULL);
    if (PyErr_Occurred())
        return NULL;
    text = PyBytes_AS_STRING(args[0]);
    size = PyBytes_GET_SIZE(args[0]);
    end = end > size ? size : end;
    if (start < 0 || start > end)
        Py_RETURN_NONE;
    found = PyDict_New();
    if (!found)
        return NULL;
    done = read_all(text + start, text + end, found, &has_dollars);
    if (done == 1)
        return Py_BuildValue("(NO)", found, has_dollars ? Py_True : Py_False);
    Py_DECREF(found);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* So many pairs are fetched for at once. */
#define PAIRS_AHEAD 64

/* put_pairs(shards, digest, pairs) */
LEAF(put_pairs)
{
    Keyspace keyspace = {NULL, NULL, NULL, NULL};
    Py_ssize_t i;
    if (nargs != 3 || !PyList_Check(args[0]) || !PyList_GET_SIZE(args[0]) || !PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "put_pairs takes shards, of which there is one at least, and pairs: two lists");
        return NULL;
    }
    keyspace.shards = args[0];
    keyspace.digest = args[1];
    for (i = 0; i < PyList_GET_SIZE(args[2]); i++) {
        PyObject *pair = PyList_GET_ITEM(args[2], i);
        if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(pair, 0))) {
            PyErr_SetString(PyExc_TypeError, "a pair is a tuple of bytes and a value");
            return NULL;
        }
        if (i % PAIRS_AHEAD == 0)
            fetch_pairs(args[0], args[2], i, PAIRS_AHEAD);
        if (store(&keyspace, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1)) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

/* table_place(shard) */
LEAF(table_place)
{
    if (nargs != 1 || !PyDict_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "table_place takes a dict");
        return NULL;
    }
    return PyLong_FromVoidPtr(((PyDictObject *)args[0])->ma_keys);
}
