/* A usual call as the leaves see it, and what it gives. */

#ifndef KVSERVER_CALLS_H
#define KVSERVER_CALLS_H

#include "leaves.h"

/* DONE is the reply +OK. */
enum Reply { NOTHING, INTEGER, STRING, DONE };

/* What a call gives. The string of a reply lies in the entry. Where something has changed, `changed` is the entry that the key
   has then, or NULL if the key goes; else it is NULL. The change is recorded as `record` or, if that is NULL, as the
   request. */
typedef struct {
    enum Reply reply;
    long long number;
    const char *string;
    Py_ssize_t length;
    int is_changed;
    PyObject *changed, *record;
} Outcome;

#define NO_OUTCOME {NOTHING, 0, NULL, 0, 0, NULL, NULL}

/* Run a call: its entry is NULL where the key is missing, and no collection gets more than `most` members. Return 1 where the
   case is not so usual, -1 with an exception. */
typedef int Call(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome);

Call call_add_member, call_add_score, call_find_member, call_get_field, call_get_string, call_increment, call_pop_left,
    call_pop_right, call_push_left, call_push_right, call_remove_member, call_set_field, call_set_string;

/* The reply to a call, and the entry that the key has then; None where the case is not so usual. */
PyObject *run_alone(Call *call, PyObject *const *args, Py_ssize_t nargs);

#define CALL_LEAF(name) \
    LEAF(name) { return run_alone(call_##name, args, nargs); }

static inline int reply_number(Outcome *outcome, long long number)
{
    outcome->reply = INTEGER;
    outcome->number = number;
    return 0;
}

/* True if a request has so many words, which are bytes. */
static inline int has_words(PyObject *request, Py_ssize_t count)
{
    Py_ssize_t i;
    if (!PyList_Check(request) || PyList_GET_SIZE(request) != count)
        return 0;
    for (i = 0; i < count; i++)
        if (!PyBytes_Check(PyList_GET_ITEM(request, i)))
            return 0;
    return 1;
}

/* A limit of the configuration; a larger number than a C integer holds counts as the largest one. -1 with an exception. */
static inline int take_limit(PyObject *config, PyObject **name, const char *spelled, long long *limit)
{
    PyObject *number;
    int overflow;
    if (!*name && !(*name = PyUnicode_InternFromString(spelled)))
        return -1;
    number = PyObject_GetAttr(config, *name);
    if (!number)
        return -1;
    *limit = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow)
        *limit = overflow > 0 ? LLONG_MAX : LLONG_MIN;
    return *limit == -1 && PyErr_Occurred() ? -1 : 0;
}

#endif
