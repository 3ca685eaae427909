/* What stands at some places of the order of a dict. */

#include "leaves.h"

/* Nothing here runs Python code while it goes through the dict, so that nobody changes that. */
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
            PyObject *pair = PyTuple_Pack(2, key, value);
            failed = pair ? PyList_Append(found, pair) : -1;
            Py_XDECREF(pair);
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
