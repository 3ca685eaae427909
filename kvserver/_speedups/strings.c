/* get_replies and set_all: runs of GETs and of SETs on the shards of a keyspace. */

#include "leaves.h"

/* A buffer that begins on the stack: the replies to a usual run have room there. */
#define FIRST_BYTES 8192

typedef struct {
    char *start;
    Py_ssize_t used, size;
    char first[FIRST_BYTES];
} Buffer;

static inline void begin(Buffer *buffer)
{
    buffer->start = buffer->first;
    buffer->used = 0;
    buffer->size = FIRST_BYTES;
}

static inline void end(Buffer *buffer)
{
    if (buffer->start != buffer->first)
        PyMem_Free(buffer->start);
}

static int grow(Buffer *buffer, Py_ssize_t wanted)
{
    Py_ssize_t size = buffer->size;
    char *start;
    if (wanted > PY_SSIZE_T_MAX / 4 - buffer->used)
        goto none;
    while (size - buffer->used < wanted)
        size *= 2;
    start = PyMem_Realloc(buffer->start == buffer->first ? NULL : buffer->start, (size_t)size);
    if (!start)
        goto none;
    if (buffer->start == buffer->first)
        memcpy(start, buffer->first, (size_t)buffer->used);
    buffer->start = start;
    buffer->size = size;
    return 0;
none:
    PyErr_NoMemory();
    return -1;
}

static inline int append(Buffer *buffer, const char *from, Py_ssize_t length)
{
    if (buffer->size - buffer->used < length && grow(buffer, length) < 0)
        return -1;
    memcpy(buffer->start + buffer->used, from, (size_t)length);
    buffer->used += length;
    return 0;
}

/* The shards of a keyspace, as a leaf is given them. */
typedef struct {
    PyObject *shards, *digest, *by_shard, *now;
} Keyspace;

static int take_keyspace(Keyspace *keyspace, PyObject *const *args)
{
    keyspace->shards = args[0];
    keyspace->digest = args[1];
    keyspace->by_shard = args[2];
    keyspace->now = args[3];
    if (PyList_Check(args[0]) && PyList_GET_SIZE(args[0]) && PyList_Check(args[2]))
        return 0;
    PyErr_SetString(PyExc_TypeError, "the shards, of which there is one at least, and their uses are lists");
    return -1;
}

/* The dict of a key, whose use is noted, or NULL with an exception. It is a borrowed reference. */
static PyObject *shard_of(Keyspace *keyspace, PyObject *key)
{
    PyObject *shard, *used;
    Py_ssize_t index, count;
    if (keyspace->digest == builtin_hash) {
        index = PyObject_Hash(key);
        if (index == -1)
            return NULL;
    } else {
        PyObject *number;
        Py_INCREF(key);
        number = PyObject_CallOneArg(keyspace->digest, key);
        Py_DECREF(key);
        if (!number)
            return NULL;
        index = PyLong_AsSsize_t(number);
        Py_DECREF(number);
        if (index == -1 && PyErr_Occurred())
            return NULL;
    }
    count = PyList_GET_SIZE(keyspace->shards);
    if (count) {
        index %= count;
        index += index < 0 ? count : 0;
    }
    if (index >= count || index >= PyList_GET_SIZE(keyspace->by_shard)) {
        PyErr_SetString(PyExc_IndexError, "there is no such shard");
        return NULL;
    }
    used = PyList_GET_ITEM(keyspace->by_shard, index);
    if (used != keyspace->now) {
        Py_INCREF(keyspace->now);
        PyList_SET_ITEM(keyspace->by_shard, index, keyspace->now);
        Py_DECREF(used);
        if (index >= PyList_GET_SIZE(keyspace->shards)) {
            PyErr_SetString(PyExc_IndexError, "there is no such shard");
            return NULL;
        }
    }
    shard = PyList_GET_ITEM(keyspace->shards, index);
    if (PyDict_Check(shard))
        return shard;
    PyErr_SetString(PyExc_TypeError, "a shard is a dict");
    return NULL;
}

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
        PyObject *key = argument_of(PyList_GET_ITEM(args[4], done), 1), *shard, *value = NULL;
        int result = -1;
        if (!key)
            goto failed;
        Py_INCREF(key);
        shard = shard_of(&keyspace, key);
        if (shard) {
            value = PyDict_GetItemWithError(shard, key);
            if (value || !PyErr_Occurred())
                result = append_reply(&buffer, value == Py_None ? NULL : value, args[5], args[6]);
        }
        missed += !result && (!value || value == Py_None);
        Py_DECREF(key);
        if (result < 0)
            goto failed;
        if (result)
            break;
    }
    found = Py_BuildValue("(y#nn)", buffer.start, buffer.used, done, missed);
    end(&buffer);
    return found;
failed:
    end(&buffer);
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
        PyObject *request = PyList_GET_ITEM(args[4], i), *key, *value, *shard;
        int failed = 1;
        if (!(key = argument_of(request, 1)) || !(value = argument_of(request, 2)))
            return NULL;
        Py_INCREF(key);
        Py_INCREF(value);
        shard = shard_of(&keyspace, key);
        if (shard) {
            Py_INCREF(shard);
            failed = PyDict_SetItem(shard, key, value);
            Py_DECREF(shard);
        }
        Py_DECREF(key);
        Py_DECREF(value);
        if (failed)
            return NULL;
    }
    Py_RETURN_NONE;
}
