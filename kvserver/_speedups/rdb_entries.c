/* Keys of RDB files with their values, many at a time. */

#include "rdb_parts.h"

#define STRING_TYPE 0
#define IDLE 248
#define FREQUENCY 249
#define EXPIRES_MS 252
#define EXPIRES_S 253
#define TYPES 256
/* A call ends behind so many bytes. */
#define CALL_BYTES (1 << 15)
/* The database, the key, the value, when it expires, for how long it was not used, how often. */
#define ITEMS 6
#define MODULE_STRING 5
/* From this length on, a score's text is a code instead. */
#define CODED_SCORES 253

/* The place behind the bracket that closes the one before this place. */
static const char *behind_bracket(const char *shape)
{
    int depth = 1;
    for (; depth && *shape; shape++)
        depth += (*shape == '[') - (*shape == ']');
    return shape;
}

/* Pass a string. NULL if it is not whole, makes no sense, or is too long. */
static Bytes pass_string(Bytes p, Bytes end, uint64_t most_bytes)
{
    Head head;
    Py_ssize_t taken = head_at(p, end, &head);
    return taken <= 0 || is_too_long(&head, most_bytes) ? NULL : p + taken;
}

/* Pass the items of a module, up to one of no kind. */
static Bytes pass_items(Bytes p, Bytes end, uint64_t most_bytes)
{
    uint64_t kind, number;
    Py_ssize_t taken;
    while ((taken = number_at(p, end, &kind)) > 0) {
        p += taken;
        if (!kind)
            return p;
        if (kind > MODULE_STRING)
            return NULL;
        if (kind == MODULE_STRING) {
            p = pass_string(p, end, most_bytes);
            if (!p)
                return NULL;
            continue;
        }
        taken = kind <= 2 ? number_at(p, end, &number) : kind == 3 ? 4 : 8;
        if (taken <= 0 || end - p < taken)
            return NULL;
        p += taken;
    }
    return NULL;
}

/* Pass what has a shape, up to its end or a bracket that closes. NULL as for a string. */
static Bytes pass_shape(Bytes p, Bytes end, const char *shape, uint64_t most_bytes)
{
    for (; p && *shape && *shape != ']'; shape++) {
        Py_ssize_t taken = *shape - '0';
        uint64_t number;
        switch (*shape) {
        case 's':
            p = pass_string(p, end, most_bytes);
            continue;
        case 'm':
            p = pass_items(p, end, most_bytes);
            continue;
        case '[':
        case 'n':
            taken = number_at(p, end, &number);
            break;
        case 't':
            taken = p < end ? 1 + (*p < CODED_SCORES ? *p : 0) : 0;
        }
        if (taken <= 0 || end - p < taken)
            return NULL;
        p += taken;
        if (*shape == '[') {
            /* Each round takes a byte at least. */
            for (; p && number; number--)
                p = pass_shape(p, end, shape + 1, most_bytes);
            shape = behind_bracket(shape + 1) - 1;
        }
    }
    return p;
}

/* The value that a body is in this way, or the body. NULL with an exception. */
static PyObject *value_of_body(Bytes p, Bytes end, PyObject *packing, uint64_t most_bytes)
{
    PyObject *value = PyBytes_GET_SIZE(packing) == 2 ? pack_body(p, end, PyBytes_AS_STRING(packing), most_bytes) : NULL;
    return value || PyErr_Occurred() ? value : PyBytes_FromStringAndSize((const char *)p, end - p);
}

/* What keys are made into: entries of this kind, a tuple, with this database in front. Those with bodies are told apart. */
typedef struct {
    PyTypeObject *kind;
    PyObject *database, *ways, *entries, *bodies;
    uint64_t most_bytes;
} Found;

/* Make an entry of its items, to which it has the references from then on. */
static PyObject *make_entry(PyTypeObject *kind, PyObject *items[ITEMS])
{
    PyObject *entry = NULL;
    int i, is_whole = 1;
    for (i = 0; i < ITEMS; i++)
        is_whole = is_whole && items[i];
    if (is_whole)
        entry = kind->tp_alloc(kind, ITEMS);
    for (i = 0; i < ITEMS; i++) {
        if (entry)
            PyTuple_SET_ITEM(entry, i, items[i]);
        else
            Py_XDECREF(items[i]);
    }
    return entry;
}

/* Note that the entry that comes has a body. Return -1 with an exception. */
static int note_body(Found *found, int type, Py_ssize_t position)
{
    PyObject *body = Py_BuildValue("(nin)", PyList_GET_SIZE(found->entries), type, position);
    int failed = !body || PyList_Append(found->bodies, body) < 0;
    Py_XDECREF(body);
    return failed ? -1 : 0;
}

/* A key that stands here with its value, and the place behind it. NULL if there is none, perhaps with an exception. */
static PyObject *entry_at(Bytes *at, Bytes start, Bytes end, Found *found)
{
    Bytes p = *at, body;
    Head head;
    Py_ssize_t taken;
    uint64_t idle_s = 0;
    long long expires_at_ms = -1;
    int has_idle = 0, frequency = -1, type;
    uint64_t most_bytes = found->most_bytes;
    PyObject *way, *key, *value, *entry;
    for (; p < end && (*p == IDLE || *p == FREQUENCY || *p == EXPIRES_MS || *p == EXPIRES_S); p += taken) {
        int opcode = *p++;
        taken = opcode == EXPIRES_MS ? 8 : opcode == EXPIRES_S ? 4 : 1;
        if (opcode == IDLE)
            taken = number_at(p, end, &idle_s);
        if (taken <= 0 || end - p < taken)
            return NULL;
        if (opcode == IDLE)
            has_idle = 1;
        else if (opcode == FREQUENCY)
            frequency = *p;
        else
            expires_at_ms = signed_of(p, (int)taken) * (opcode == EXPIRES_MS ? 1 : 1000);
    }
    way = p < end ? PyTuple_GET_ITEM(found->ways, *p) : Py_None;
    if (way == Py_None)
        return NULL;
    type = *p++;
    taken = head_at(p, end, &head);
    if (taken <= 0 || is_too_long(&head, most_bytes))
        return NULL;
    body = p + taken;
    p = pass_shape(body, (uint64_t)(end - body) > most_bytes ? body + most_bytes : end,
                   PyBytes_AS_STRING(PyTuple_GET_ITEM(way, 0)), most_bytes);
    if (!p || !(key = read_string(&head, most_bytes)))
        return NULL;
    if (type == STRING_TYPE) {
        head_at(body, p, &head);
        value = read_string(&head, most_bytes);
    } else {
        value = value_of_body(body, p, PyTuple_GET_ITEM(way, 1), most_bytes);
    }
    if (value && type != STRING_TYPE && PyBytes_Check(value) && note_body(found, type, body - start) < 0)
        Py_CLEAR(value);
    entry = make_entry(found->kind, (PyObject *[ITEMS]){
                                        Py_NewRef(found->database),
                                        key,
                                        value,
                                        expires_at_ms == -1 ? Py_NewRef(Py_None) : PyLong_FromLongLong(expires_at_ms),
                                        has_idle ? PyLong_FromUnsignedLongLong(idle_s) : Py_NewRef(Py_None),
                                        frequency < 0 ? Py_NewRef(Py_None) : PyLong_FromLong(frequency),
                                    });
    /* Else it stands there still, to be refused. */
    if (entry)
        *at = p;
    return entry;
}

/* True for the ways of all types, each None, or a shape and a packing. */
static int are_ways(PyObject *ways)
{
    Py_ssize_t i;
    if (!PyTuple_Check(ways) || PyTuple_GET_SIZE(ways) != TYPES)
        return 0;
    for (i = 0; i < TYPES; i++) {
        PyObject *way = PyTuple_GET_ITEM(ways, i), *packing;
        if (way == Py_None)
            continue;
        if (!PyTuple_Check(way) || PyTuple_GET_SIZE(way) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(way, 0)))
            return 0;
        packing = PyTuple_GET_ITEM(way, 1);
        if (!is_packing(packing) && (!PyBytes_Check(packing) || PyBytes_GET_SIZE(packing)))
            return 0;
    }
    return 1;
}

/* True for tuple, or a class derived from it that has nothing besides. */
static int is_kind(PyObject *kind)
{
    return PyType_Check(kind) && PyType_IsSubtype((PyTypeObject *)kind, &PyTuple_Type) &&
           ((PyTypeObject *)kind)->tp_basicsize == PyTuple_Type.tp_basicsize;
}

/* entries_at(data, position, ways, most, most_bytes, kind, database) */
LEAF(entries_at)
{
    Py_buffer data;
    Bytes at, start, begin;
    Found found;
    Py_ssize_t most, position;
    int failed;
    (void)module;
    if (nargs != 7 || !are_ways(args[2]) || !is_kind(args[5])) {
        PyErr_SetString(PyExc_TypeError, "entries_at takes data, a position, ways, two numbers, a kind of tuple and more");
        return NULL;
    }
    most = PyLong_AsSsize_t(args[3]);
    found.most_bytes = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[4]);
    if (PyErr_Occurred() || !(at = place_of(args, &data)))
        return NULL;
    start = data.buf;
    found.kind = (PyTypeObject *)args[5];
    found.ways = args[2];
    found.database = args[6];
    found.entries = PyList_New(0);
    found.bodies = PyList_New(0);
    failed = !found.entries || !found.bodies;
    begin = at;
    while (!failed && PyList_GET_SIZE(found.entries) < most && at - begin < CALL_BYTES) {
        PyObject *entry = entry_at(&at, start, start + data.len, &found);
        if (!entry) {
            failed = PyErr_Occurred() != NULL;
            break;
        }
        failed = PyList_Append(found.entries, entry) < 0;
        Py_DECREF(entry);
    }
    position = at - start;
    PyBuffer_Release(&data);
    if (!failed)
        return Py_BuildValue("(NNn)", found.entries, found.bodies, position);
    Py_XDECREF(found.entries);
    Py_XDECREF(found.bodies);
    return NULL;
}
