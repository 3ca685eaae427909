/* What the leaves that read and write keys share: a keyspace as they are given it, and a buffer for replies. */

#ifndef KVSERVER_KEYSPACE_H
#define KVSERVER_KEYSPACE_H

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

static inline int grow(Buffer *buffer, Py_ssize_t wanted)
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

/* The shards of a keyspace, as a leaf is given them. Without `by_shard` nobody notes uses. */
typedef struct {
    PyObject *shards, *digest, *by_shard, *now;
} Keyspace;

static inline int take_keyspace(Keyspace *keyspace, PyObject *const *args)
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
static inline PyObject *shard_of(Keyspace *keyspace, PyObject *key)
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
    if (index < 0 || index >= count || (keyspace->by_shard && index >= PyList_GET_SIZE(keyspace->by_shard))) {
        PyErr_SetString(PyExc_IndexError, "there is no such shard");
        return NULL;
    }
    used = keyspace->by_shard ? PyList_GET_ITEM(keyspace->by_shard, index) : NULL;
    if (used && used != keyspace->now) {
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

/* The value of a key, whose use is noted. NULL, without an exception, where there is none. It is a borrowed reference. */
static inline PyObject *value_of_key(Keyspace *keyspace, PyObject *key)
{
    PyObject *shard, *value;
    Py_INCREF(key);
    shard = shard_of(keyspace, key);
    value = shard ? PyDict_GetItemWithError(shard, key) : NULL;
    Py_DECREF(key);
    return value == Py_None ? NULL : value;
}

/* Store a value under a key, whose use is noted. What was replaced is freed. Return -1 with an exception. */
static inline int store(Keyspace *keyspace, PyObject *key, PyObject *value)
{
    PyObject *shard;
    int result = -1;
    Py_INCREF(key);
    Py_INCREF(value);
    shard = shard_of(keyspace, key);
    if (shard) {
        Py_INCREF(shard);
        result = PyDict_SetItem(shard, key, value);
        Py_DECREF(shard);
    }
    Py_DECREF(key);
    Py_DECREF(value);
    return result;
}

#endif
