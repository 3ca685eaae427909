/* What stands at some places of the order of a dict. */

#include "leaves.h"

/* Nothing here runs Python code while it goes through the dict, so that nobody changes that. But the garbage collector may
   start where a tuple is made, and run anything: so what goes into the tuple is held. */
static PyObject *between(PyObject *const *args, Py_ssize_t nargs, int has_values)
{
    PyObject *found, *key, *value;
    Py_ssize_t start, stop, number = 0, position = 0;
    if (nargs != 3 || !PyDict_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "a dict and two places of its order are to be given");
        return NULL;
    }
    start = PyNumber_AsSsize_t(args[1], NULL);
    stop = PyNumber_AsSsize_t(args[2], NULL);
    if (PyErr_Occurred())
        return NULL;
    found = PyList_New(0);
    for (; found && number < stop && PyDict_Next(args[0], &position, &key, &value); number++) {
        int failed;
        if (number < start)
            continue;
        if (has_values) {
            PyObject *pair;
            Py_INCREF(key);
            Py_INCREF(value);
            pair = PyTuple_Pack(2, key, value);
            failed = pair ? PyList_Append(found, pair) : -1;
            Py_XDECREF(pair);
            Py_DECREF(key);
            Py_DECREF(value);
        } else {
            failed = PyList_Append(found, key);
        }
        if (failed < 0)
            Py_CLEAR(found);
    }
    return found;
}

/* keys_between(shard, start, stop) */
LEAF(keys_between)
{
    return between(args, nargs, 0);
}

/* items_between(shard, start, stop) */
LEAF(items_between)
{
    return between(args, nargs, 1);
}

/* Put a number into a list. */
static int put_number(PyObject *list, Py_ssize_t index, Py_ssize_t number)
{
    PyObject *object = PyLong_FromSsize_t(number);
    return object ? PyList_SetItem(list, index, object) : -1;
}

/* Take up to `left` of the items of one shard, without a reference. Returns their number, or -1 with an exception. */
static Py_ssize_t take_some(PyObject *const *args, Py_ssize_t index, Py_ssize_t number, PyObject **keys, PyObject **values,
                            Py_ssize_t left)
{
    PyObject *shard = PyList_GET_ITEM(args[0], index), *place = PyList_GET_ITEM(args[1], index);
    PyObject *counts = PyList_GET_ITEM(args[2], index);
    Py_ssize_t position = 0, wanted, taken = 0;
    if (!PyDict_Check(shard) || !PyList_Check(counts) || number < 0 || number >= PyList_GET_SIZE(counts)) {
        PyErr_SetString(PyExc_TypeError, "a shard is a dict, and its counts a list");
        return -1;
    }
    wanted = PyLong_AsSsize_t(PyList_GET_ITEM(counts, number));
    if (place != Py_None)
        position = PyLong_AsSsize_t(place);
    if (PyErr_Occurred())
        return -1;
    if (wanted > left)
        wanted = left;
    if (!wanted)
        return 0;
    while (taken < wanted && PyDict_Next(shard, &position, &keys[taken], &values[taken])) {
        __builtin_prefetch(keys[taken], 1);
        __builtin_prefetch(values[taken], 1);
        taken++;
    }
    if (put_number(args[1], index, position) < 0 ||
        put_number(counts, number, PyLong_AsSsize_t(PyList_GET_ITEM(counts, number)) - wanted) < 0)
        return -1;
    return taken;
}

/* An empty list that has room for so many. */
static PyObject *list_with_room(Py_ssize_t most)
{
    PyObject *list = PyList_New(most);
    if (list)
        Py_SET_SIZE(list, 0);
    return list;
}

/* Put objects into an empty list that has room for them. */
static void fill(PyObject *list, PyObject **objects, Py_ssize_t count)
{
    Py_ssize_t i;
    for (i = 0; i < count; i++)
        PyList_SET_ITEM(list, i, Py_NewRef(objects[i]));
    Py_SET_SIZE(list, count);
}

/* take_items(shards, places, counts, number, first, most) */
LEAF(take_items)
{
    Py_ssize_t number, index, most, shards, count = 0, taken = 0;
    PyObject **found, *keys, *values;
    if (nargs != 6 || !PyList_Check(args[0]) || !PyList_Check(args[1]) || !PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "take_items takes three lists and three numbers");
        return NULL;
    }
    shards = PyList_GET_SIZE(args[0]);
    number = PyNumber_AsSsize_t(args[3], NULL);
    index = PyNumber_AsSsize_t(args[4], NULL);
    most = PyNumber_AsSsize_t(args[5], NULL);
    if (PyErr_Occurred())
        return NULL;
    if (PyList_GET_SIZE(args[1]) != shards || PyList_GET_SIZE(args[2]) != shards || index < 0 || most < 1 ||
        most > PY_SSIZE_T_MAX / (Py_ssize_t)(2 * sizeof(PyObject *))) {
        PyErr_SetString(PyExc_TypeError, "the lists are as long as that of the shards, and the numbers not negative");
        return NULL;
    }
    /* The garbage collector may start where a list is made, and run anything: so they are made before objects are taken. */
    keys = list_with_room(most);
    values = keys ? list_with_room(most) : NULL;
    found = values ? PyMem_Malloc((size_t)most * 2 * sizeof(PyObject *)) : NULL;
    if (!found) {
        Py_XDECREF(keys);
        Py_XDECREF(values);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    shards = Py_MIN(PyList_GET_SIZE(args[0]), Py_MIN(PyList_GET_SIZE(args[1]), PyList_GET_SIZE(args[2])));
    for (; index < shards; index++) {
        taken = take_some(args, index, number, found + count, found + most + count, most - count);
        if (taken < 0)
            break;
        count += taken;
        if (count == most)
            break;
    }
    fill(keys, found, count);
    fill(values, found + most, count);
    PyMem_Free(found);
    if (taken < 0) {
        Py_DECREF(keys);
        Py_DECREF(values);
        return NULL;
    }
    return Py_BuildValue("(NNn)", keys, values, index);
}
