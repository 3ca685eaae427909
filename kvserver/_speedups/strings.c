/* The usual calls of strings, MGET and MSET. */

#include "keyspace.h"
#include "calls.h"

/* INCR counts digits of so many at most, whose successor surely has 64 bits. */
#define MOST_DIGITS 18
/* A run replies with no longer string. */
#define MOST_REPLY_BYTES 4096

int call_get_string(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    (void)config, (void)most;
    if (!has_words(request, 2) || (entry && (!PyBytes_CheckExact(entry) || PyBytes_GET_SIZE(entry) > MOST_REPLY_BYTES)))
        return 1;
    if (entry) {
        outcome->reply = STRING;
        outcome->string = PyBytes_AS_STRING(entry);
        outcome->length = PyBytes_GET_SIZE(entry);
    }
    return 0;
}

int call_set_string(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    (void)entry, (void)config, (void)most;
    if (!has_words(request, 3))
        return 1;
    outcome->reply = DONE;
    outcome->is_changed = 1;
    outcome->changed = Py_NewRef(PyList_GET_ITEM(request, 2));
    return 0;
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

int call_increment(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    static PyObject *name;
    char line[MOST_LINE_BYTES];
    Py_ssize_t length;
    long long number;
    (void)config, (void)most;
    if (!has_words(request, 2))
        return 1;
    number = successor_of(entry);
    if (!number)
        return 1;
    if (!name && !(name = PyBytes_FromString("SET")))
        return -1;
    length = put_line(line, ':', number) - line;
    outcome->changed = PyBytes_FromStringAndSize(line + 1, length - 3);
    outcome->record = outcome->changed ? PyList_New(3) : NULL;
    if (!outcome->record) {
        Py_CLEAR(outcome->changed);
        return -1;
    }
    PyList_SET_ITEM(outcome->record, 0, Py_NewRef(name));
    PyList_SET_ITEM(outcome->record, 1, Py_NewRef(PyList_GET_ITEM(request, 1)));
    PyList_SET_ITEM(outcome->record, 2, Py_NewRef(outcome->changed));
    outcome->is_changed = 1;
    return reply_number(outcome, number);
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

CALL_LEAF(get_string)
CALL_LEAF(increment)
CALL_LEAF(set_string)
