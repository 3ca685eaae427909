/* Runs of GETs, SETs and INCRs on the shards of a keyspace, MGET and MSET. */

#include "keyspace.h"

/* INCR counts digits of so many at most, whose successor surely has 64 bits. */
#define MOST_DIGITS 18

/* Append the reply to a GET. Return 1 if it is none that this knows, -1 with an exception. */
static int append_reply(Buffer *buffer, PyObject *value, PyObject *null, PyObject *headers)
{
    PyObject *header;
    if (!value)
        return append(buffer, PyBytes_AS_STRING(null), PyBytes_GET_SIZE(null));
    if (!PyBytes_CheckExact(value) || PyBytes_GET_SIZE(value) >= PyList_GET_SIZE(headers))
        return 1;
    header = PyList_GET_ITEM(headers, PyBytes_GET_SIZE(value));
    if (!PyBytes_Check(header)) {
        PyErr_SetString(PyExc_TypeError, "a header is bytes");
        return -1;
    }
    if (append(buffer, PyBytes_AS_STRING(header), PyBytes_GET_SIZE(header)) < 0 ||
        append(buffer, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)) < 0)
        return -1;
    return append(buffer, "\r\n", 2);
}

/* get_replies(shards, digest, by_shard, now, requests, null, headers) */
LEAF(get_replies)
{
    Keyspace keyspace;
    Buffer buffer;
    Py_ssize_t done = 0, missed = 0;
    PyObject *found;
    if (nargs != 7 || !PyList_Check(args[4]) || !PyBytes_Check(args[5]) || !PyList_Check(args[6])) {
        PyErr_SetString(PyExc_TypeError, "get_replies takes requests and headers, which are lists, and a null");
        return NULL;
    }
    if (take_keyspace(&keyspace, args) < 0)
        return NULL;
    begin(&buffer);
    for (; done < PyList_GET_SIZE(args[4]); done++) {
        PyObject *key = argument_of(PyList_GET_ITEM(args[4], done), 1), *value = key ? value_of_key(&keyspace, key) : NULL;
        int result = !value && PyErr_Occurred() ? -1 : append_reply(&buffer, value, args[5], args[6]);
        if (result < 0) {
            end(&buffer);
            return NULL;
        }
        if (result)
            break;
        missed += !value;
    }
    found = Py_BuildValue("(y#nn)", buffer.start, buffer.used, done, missed);
    end(&buffer);
    return found;
}

/* get_values(shards, digest, by_shard, now, request) */
LEAF(get_values)
{
    Keyspace keyspace;
    Py_ssize_t missed = 0, i;
    PyObject *values;
    if (nargs != 5 || !PyList_Check(args[4])) {
        PyErr_SetString(PyExc_TypeError, "get_values takes a request, which is a list");
        return NULL;
    }
    if (take_keyspace(&keyspace, args) < 0)
        return NULL;
    fetch_keys(args[0], args[4], 1);
    values = PyList_New(0);
    if (!values)
        return NULL;
    for (i = 1; i < PyList_GET_SIZE(args[4]); i++) {
        PyObject *key = argument_of(args[4], i), *value = key ? value_of_key(&keyspace, key) : NULL;
        if (!value && PyErr_Occurred())
            goto failed;
        missed += !value;
        /* A small collection is a str. */
        if (value && !PyBytes_Check(value) && !PyUnicode_CheckExact(value)) {
            Py_DECREF(values);
            Py_RETURN_NONE;
        }
        if (PyList_Append(values, value && PyBytes_Check(value) ? value : Py_None) < 0)
            goto failed;
    }
    return Py_BuildValue("(Nn)", values, missed);
failed:
    Py_DECREF(values);
    return NULL;
}

/* set_all(shards, digest, by_shard, now, requests) */
LEAF(set_all)
{
    Keyspace keyspace;
    Py_ssize_t i;
    if (nargs != 5 || !PyList_Check(args[4])) {
        PyErr_SetString(PyExc_TypeError, "set_all takes requests, which are a list");
        return NULL;
    }
    if (take_keyspace(&keyspace, args) < 0)
        return NULL;
    for (i = 0; i < PyList_GET_SIZE(args[4]); i++) {
        PyObject *request = PyList_GET_ITEM(args[4], i), *key, *value;
        if (!(key = argument_of(request, 1)) || !(value = argument_of(request, 2)) || store(&keyspace, key, value) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

/* set_pairs(shards, digest, by_shard, now, request) */
LEAF(set_pairs)
{
    Keyspace keyspace;
    Py_ssize_t i;
    if (nargs != 5 || !PyList_Check(args[4])) {
        PyErr_SetString(PyExc_TypeError, "set_pairs takes a request, which is a list");
        return NULL;
    }
    if (take_keyspace(&keyspace, args) < 0)
        return NULL;
    fetch_keys(args[0], args[4], 2);
    for (i = 1; i < PyList_GET_SIZE(args[4]); i += 2) {
        PyObject *key = argument_of(args[4], i), *value = key ? argument_of(args[4], i + 1) : NULL;
        if (!value || store(&keyspace, key, value) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

/* The number behind the one that a value is; 0 where the value is none that this knows. */
static long long successor_of(PyObject *value)
{
    const char *digits;
    Py_ssize_t length, i;
    long long number = 0;
    if (!value)
        return 1;
    if (!PyBytes_CheckExact(value))
        return 0;
    digits = PyBytes_AS_STRING(value);
    length = PyBytes_GET_SIZE(value);
    if (!length || length > MOST_DIGITS || digits[0] == '0')
        return 0;
    for (i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        number = number * 10 + (digits[i] - '0');
    }
    return number + 1;
}

/* Run an INCR. Return 1 if its value is none that this knows, -1 with an exception; then nothing is stored. */
static int increment(Keyspace *keyspace, PyObject *request, PyObject *name, Buffer *buffer, PyObject *records)
{
    PyObject *key = argument_of(request, 1), *value, *text = NULL, *record = NULL;
    char line[MOST_LINE_BYTES];
    Py_ssize_t length;
    long long number;
    int result = -1;
    if (!key)
        return -1;
    Py_INCREF(key);
    value = value_of_key(keyspace, key);
    if (!value && PyErr_Occurred())
        goto end;
    number = successor_of(value);
    if (!number) {
        result = 1;
        goto end;
    }
    length = put_line(line, ':', number) - line;
    text = PyBytes_FromStringAndSize(line + 1, length - 3);
    record = text ? PyList_New(3) : NULL;
    if (!record)
        goto end;
    PyList_SET_ITEM(record, 0, Py_NewRef(name));
    PyList_SET_ITEM(record, 1, Py_NewRef(key));
    PyList_SET_ITEM(record, 2, Py_NewRef(text));
    /* What may fail stands before what can't be undone. */
    if (append(buffer, line, length) == 0 && PyList_Append(records, record) == 0)
        result = store(keyspace, key, text);
end:
    Py_XDECREF(record);
    Py_XDECREF(text);
    Py_DECREF(key);
    return result;
}

/* increment_all(shards, digest, by_shard, now, requests, name) */
LEAF(increment_all)
{
    Keyspace keyspace;
    Buffer buffer;
    PyObject *records, *found;
    Py_ssize_t i;
    if (nargs != 6 || !PyList_Check(args[4]) || !PyBytes_Check(args[5])) {
        PyErr_SetString(PyExc_TypeError, "increment_all takes requests, which are a list, and a name");
        return NULL;
    }
    if (take_keyspace(&keyspace, args) < 0)
        return NULL;
    records = PyList_New(0);
    if (!records)
        return NULL;
    begin(&buffer);
    for (i = 0; i < PyList_GET_SIZE(args[4]); i++) {
        Py_ssize_t before = buffer.used;
        int result = increment(&keyspace, PyList_GET_ITEM(args[4], i), args[5], &buffer, records);
        if (!result)
            continue;
        /* What has run has run, and is recorded: only a failure of the first call is told. */
        buffer.used = before;
        if (result < 0 && i)
            PyErr_Clear();
        if (PyList_SetSlice(records, i, PyList_GET_SIZE(records), NULL) < 0 || (result < 0 && !i)) {
            end(&buffer);
            Py_DECREF(records);
            return NULL;
        }
        break;
    }
    found = Py_BuildValue("(y#N)", buffer.start, buffer.used, records);
    end(&buffer);
    return found;
}
