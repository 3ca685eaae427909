/* Runs of usual calls on the shards of a keyspace, and such calls alone. */

#include "keyspace.h"
#include "calls.h"

/* What a call does with its key. A read of a string (GETS) is counted otherwise than those of collections (READS). */
enum Access { GETS, READS, CHANGES, OVERWRITES };

/* By their codes: the order is that of CALLS in runs.py, which the tests of runs would tell if it were not. */
static const struct {
    Call *run;
    enum Access access;
} CALLS[] = {
    {call_get_string, GETS},      {call_get_field, READS},     {call_find_member, READS},     {call_set_string, OVERWRITES},
    {call_increment, CHANGES},    {call_set_field, CHANGES},   {call_push_left, CHANGES},     {call_push_right, CHANGES},
    {call_pop_left, CHANGES},     {call_pop_right, CHANGES},   {call_add_member, CHANGES},    {call_remove_member, CHANGES},
    {call_add_score, CHANGES},
};
#define CALL_COUNT (Py_ssize_t)(sizeof CALLS / sizeof *CALLS)

PyObject *run_alone(Call *call, PyObject *const *args, Py_ssize_t nargs)
{
    Outcome outcome = NO_OUTCOME;
    PyObject *reply, *entry, *found;
    int result;
    long long most;
    if (nargs != 4 || !PyLong_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "a call takes an entry, a request, a configuration and a number");
        return NULL;
    }
    most = PyLong_AsLongLong(args[3]);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    entry = args[0] == Py_None ? NULL : args[0];
    result = call(entry, args[1], args[2], most, &outcome);
    if (result > 0)
        Py_RETURN_NONE;
    if (result < 0)
        return NULL;
    if (outcome.reply == INTEGER)
        reply = PyLong_FromLongLong(outcome.number);
    else if (outcome.reply == STRING)
        reply = PyBytes_FromStringAndSize(outcome.string, outcome.length);
    else
        reply = Py_NewRef(outcome.reply == DONE ? Py_True : Py_None);
    if (!outcome.changed)
        outcome.changed = Py_NewRef(outcome.is_changed ? Py_None : args[0]);
    found = reply ? PyTuple_Pack(2, reply, outcome.changed) : NULL;
    Py_XDECREF(reply);
    Py_XDECREF(outcome.record);
    Py_DECREF(outcome.changed);
    return found;
}

static int append_outcome(Buffer *buffer, const Outcome *outcome, PyObject *null)
{
    char line[MOST_LINE_BYTES];
    if (outcome->reply == INTEGER)
        return append(buffer, line, put_line(line, ':', outcome->number) - line);
    if (outcome->reply == NOTHING)
        return append(buffer, PyBytes_AS_STRING(null), PyBytes_GET_SIZE(null));
    if (outcome->reply == DONE)
        return append(buffer, "+OK\r\n", 5);
    if (append(buffer, line, put_line(line, '$', outcome->length) - line) < 0 ||
        append(buffer, outcome->string, outcome->length) < 0)
        return -1;
    return append(buffer, "\r\n", 2);
}

/* Store what a call has made of an entry, or remove its key. Return -1 with an exception; then nothing has changed. */
static int keep(Keyspace *keyspace, PyObject *key, PyObject *changed)
{
    PyObject *shard;
    int result;
    if (changed)
        return store(keyspace, key, changed);
    shard = shard_of(keyspace, key);
    if (!shard)
        return -1;
    Py_INCREF(shard);
    result = PyDict_DelItem(shard, key);
    Py_DECREF(shard);
    return result;
}

typedef struct {
    Keyspace keyspace;
    PyObject *codes, *config, *null, *records;
    /* The class of entries with an expiry, and the time (Unix milliseconds) by which they are looked at. */
    PyObject *expiring;
    long long now_ms;
    /* The name of the call before, which the next one has most often, and its code. */
    PyObject *name;
    Py_ssize_t code;
    Buffer buffer;
    long long most;
    Py_ssize_t hits, misses, missed_gets;
} Run;

/* The code of a name, or -1 if it has none or with an exception. */
static Py_ssize_t code_of(Run *run, PyObject *name)
{
    PyObject *number;
    if (name == run->name)
        return run->code;
    number = PyDict_GetItemWithError(run->codes, name);
    if (!number)
        return -1;
    run->code = PyLong_AsSsize_t(number);
    if (run->code < 0 || run->code >= CALL_COUNT) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_IndexError, "there is no such call");
        return -1;
    }
    Py_XSETREF(run->name, Py_NewRef(name));
    return run->code;
}

/* Put the value of an entry with an expiry in its place. Return 1 if its time has come, -1 with an exception. */
static int open_expiring(const Run *run, PyObject **entry)
{
    static PyObject *time_name, *value_name;
    PyObject *time, *value;
    long long time_ms;
    if (!time_name && !(time_name = PyUnicode_InternFromString("expires_at_ms")))
        return -1;
    if (!value_name && !(value_name = PyUnicode_InternFromString("value")))
        return -1;
    time = PyObject_GetAttr(*entry, time_name);
    time_ms = time ? PyLong_AsLongLong(time) : -1;
    Py_XDECREF(time);
    if (time_ms == -1 && PyErr_Occurred())
        return -1;
    if (time_ms <= run->now_ms)
        return 1;
    value = PyObject_GetAttr(*entry, value_name);
    if (!value)
        return -1;
    Py_SETREF(*entry, value);
    return 0;
}

/* Run a request, which the caller holds. Return 1 if it is no usual call, -1 with an exception; then nothing has changed. */
static int run_one(Run *run, PyObject *request)
{
    Outcome outcome = NO_OUTCOME;
    PyObject *name = argument_of(request, 0), *key, *entry = NULL;
    Py_ssize_t code = name ? code_of(run, name) : -1;
    enum Access access;
    int result = 0;
    if (code < 0)
        return PyErr_Occurred() ? -1 : 1;
    if (PyList_GET_SIZE(request) < 2)
        return 1;
    key = argument_of(request, 1);
    if (!key)
        return -1;
    access = CALLS[code].access;
    Py_INCREF(key);
    if (access != OVERWRITES) {
        entry = value_of_key(&run->keyspace, key);
        if (!entry && PyErr_Occurred()) {
            Py_DECREF(key);
            return -1;
        }
        /* The configuration may run Python code, and the reply may lie in the entry. */
        Py_XINCREF(entry);
    }
    if (entry && access <= READS && (PyObject *)Py_TYPE(entry) == run->expiring)
        result = open_expiring(run, &entry);
    if (!result)
        result = CALLS[code].run(entry, request, run->config, run->most, &outcome);
    if (!result)
        result = append_outcome(&run->buffer, &outcome, run->null);
    /* What may fail stands before what can't be undone. */
    if (!result && outcome.is_changed) {
        result = PyList_Append(run->records, outcome.record ? outcome.record : request);
        if (!result)
            result = keep(&run->keyspace, key, outcome.changed);
    } else if (!result && access == READS) {
        run->hits += entry != NULL;
        run->misses += entry == NULL;
    } else if (!result && access == GETS)
        run->missed_gets += entry == NULL;
    Py_XDECREF(outcome.record);
    Py_XDECREF(outcome.changed);
    Py_XDECREF(entry);
    Py_DECREF(key);
    return result;
}

/* run_calls(shards, digest, by_shard, now, requests, start, codes, config, most, null, expiring, now_ms, records) */
LEAF(run_calls)
{
    Run run;
    PyObject *requests, *found;
    Py_ssize_t start, done = 0;
    if (nargs != 13 || !PyList_Check(args[4]) || !PyLong_Check(args[5]) || !PyDict_Check(args[6]) || !PyLong_Check(args[8]) ||
        !PyBytes_Check(args[9]) || !PyType_Check(args[10]) || !PyLong_Check(args[11]) || !PyList_Check(args[12])) {
        PyErr_SetString(PyExc_TypeError, "run_calls takes lists of requests and records, places, codes, a null and a class");
        return NULL;
    }
    if (take_keyspace(&run.keyspace, args) < 0)
        return NULL;
    requests = args[4];
    start = PyLong_AsSsize_t(args[5]);
    if (start < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_IndexError, "a run begins in the list");
        return NULL;
    }
    run.most = PyLong_AsLongLong(args[8]);
    if (run.most == -1 && PyErr_Occurred())
        return NULL;
    run.expiring = args[10];
    run.now_ms = PyLong_AsLongLong(args[11]);
    if (run.now_ms == -1 && PyErr_Occurred())
        return NULL;
    run.codes = args[6];
    run.config = args[7];
    run.null = args[9];
    run.records = args[12];
    run.name = NULL;
    run.hits = run.misses = run.missed_gets = 0;
    begin(&run.buffer);
    for (; start + done < PyList_GET_SIZE(requests); done++) {
        PyObject *request = Py_NewRef(PyList_GET_ITEM(requests, start + done));
        Py_ssize_t before = run.buffer.used, recorded = PyList_GET_SIZE(run.records);
        int result = run_one(&run, request);
        Py_DECREF(request);
        if (!result)
            continue;
        /* What has run has run, and is recorded: only a failure of the first call is told. */
        run.buffer.used = before;
        if (result < 0 && done)
            PyErr_Clear();
        if (PyList_SetSlice(run.records, recorded, PyList_GET_SIZE(run.records), NULL) < 0 || (result < 0 && !done)) {
            end(&run.buffer);
            Py_XDECREF(run.name);
            return NULL;
        }
        break;
    }
    found = Py_BuildValue("(y#nnnn)", run.buffer.start, run.buffer.used, done, run.hits, run.misses, run.missed_gets);
    end(&run.buffer);
    Py_XDECREF(run.name);
    return found;
}
