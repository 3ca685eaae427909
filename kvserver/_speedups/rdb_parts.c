/* Lengths and strings of RDB files, many at a time. */

#include "leaves.h"

typedef const unsigned char *Bytes;

#define ENCODED 3
#define LZF 3
/* What a length, or a string, is that makes no sense. Memory that is not there counts as that, too: an exception says so. */
#define WRONG -1

static const int integer_bytes[] = {1, 2, 4};

/* What a string takes where it stands, and what it is. */
typedef struct {
    Bytes start;
    uint64_t stored, length;
    /* A compressed string, or one that is an integer: else it is its own bytes. */
    int is_compressed, is_integer;
} Head;

static uint64_t big_endian(Bytes p, int size)
{
    uint64_t number = 0;
    while (size--)
        number = number << 8 | *p++;
    return number;
}

static uint64_t little_endian(Bytes p, int size)
{
    uint64_t number = 0;
    while (size--)
        number = number << 8 | p[size];
    return number;
}

static long long signed_of(Bytes p, int size)
{
    uint64_t number = little_endian(p, size), sign = (uint64_t)1 << (8 * size - 1);
    return size == 8 ? (long long)number : (long long)((number ^ sign)) - (long long)sign;
}

/* The bytes that a length takes, 0 if it is not whole, or WRONG. */
static Py_ssize_t length_at(Bytes p, Bytes end, uint64_t *number, int *is_encoded)
{
    int size;
    if (p >= end)
        return 0;
    *is_encoded = 0;
    switch (p[0] >> 6) {
    case 0:
        *number = p[0];
        return 1;
    case ENCODED:
        *number = p[0] & 63;
        *is_encoded = 1;
        return 1;
    case 1:
        if (end - p < 2)
            return 0;
        *number = (uint64_t)(p[0] & 63) << 8 | p[1];
        return 2;
    default:
        if (p[0] != 0x80 && p[0] != 0x81)
            return WRONG;
        size = p[0] == 0x80 ? 4 : 8;
        if (end - p <= size)
            return 0;
        *number = big_endian(p + 1, size);
        return 1 + size;
    }
}

static Py_ssize_t number_at(Bytes p, Bytes end, uint64_t *number)
{
    int is_encoded;
    Py_ssize_t taken = length_at(p, end, number, &is_encoded);
    return taken > 0 && is_encoded ? WRONG : taken;
}

/* The bytes that a string takes, 0 if it is not whole, or WRONG. A string that is not whole may have a head. */
static Py_ssize_t head_at(Bytes p, Bytes end, Head *head)
{
    int is_encoded;
    uint64_t number;
    Py_ssize_t taken = length_at(p, end, &number, &is_encoded), more;
    head->start = NULL;
    if (taken <= 0)
        return taken;
    head->is_compressed = head->is_integer = 0;
    head->stored = head->length = number;
    if (is_encoded && number < 3) {
        head->is_integer = 1;
        head->stored = (uint64_t)integer_bytes[number];
        head->length = 0;
    } else if (is_encoded) {
        if (number != LZF)
            return WRONG;
        head->is_compressed = 1;
        more = number_at(p + taken, end, &head->stored);
        if (more <= 0)
            return more;
        taken += more;
        more = number_at(p + taken, end, &head->length);
        if (more <= 0)
            return more;
        taken += more;
    }
    head->start = p + taken;
    return (uint64_t)(end - head->start) < head->stored ? 0 : taken + (Py_ssize_t)head->stored;
}

/* The string that a head begins, all of which is there. NULL without an exception if it makes no sense. */
static PyObject *string_of(const Head *head, uint64_t most_bytes)
{
    PyObject *string;
    unsigned char *to;
    Py_ssize_t stored = (Py_ssize_t)head->stored;
    if (head->is_integer) {
        char digits[MOST_LINE_BYTES];
        int length = PyOS_snprintf(digits, sizeof digits, "%lld", signed_of(head->start, (int)stored));
        return PyBytes_FromStringAndSize(digits, length);
    }
    if (!head->is_compressed)
        return PyBytes_FromStringAndSize((const char *)head->start, stored);
    if (head->length > most_bytes || head->length > PY_SSIZE_T_MAX / 2 || !can_be_so_long(stored, head->length))
        return NULL;
    string = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)head->length);
    if (!string)
        return NULL;
    to = (unsigned char *)PyBytes_AS_STRING(string);
    if (decompress_into(head->start, head->start + stored, to, to + head->length))
        Py_CLEAR(string);
    return string;
}

static int is_too_long(const Head *head, uint64_t most_bytes)
{
    return head->start && (head->stored > most_bytes || head->length > most_bytes);
}

/* The first two arguments of a leaf, and the place that they tell. The caller releases the data. */
static Bytes place_of(PyObject *const *args, Py_buffer *data)
{
    Py_ssize_t position = PyLong_AsSsize_t(args[1]);
    if (position == -1 && PyErr_Occurred())
        return NULL;
    if (PyObject_GetBuffer(args[0], data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (position < 0 || position > data->len) {
        PyBuffer_Release(data);
        PyErr_SetString(PyExc_ValueError, "the data ends early");
        return NULL;
    }
    return (Bytes)data->buf + position;
}

static int is_shape(PyObject *shape)
{
    Py_ssize_t i;
    if (!PyBytes_Check(shape) || !PyBytes_GET_SIZE(shape))
        return 0;
    for (i = 0; i < PyBytes_GET_SIZE(shape); i++)
        if (!strchr("sn123456789", PyBytes_AS_STRING(shape)[i]))
            return 0;
    return 1;
}

/* The item of a shape that stands here, and the place behind it. NULL if there is none, perhaps with an exception. */
static PyObject *item_at(Bytes *at, Bytes end, char character, uint64_t most_bytes)
{
    PyObject *item = NULL;
    Py_ssize_t taken;
    Head head;
    uint64_t number;
    if (character == 's') {
        taken = head_at(*at, end, &head);
        item = taken > 0 ? string_of(&head, most_bytes) : NULL;
    } else if (character == 'n') {
        taken = number_at(*at, end, &number);
        item = taken > 0 ? PyLong_FromUnsignedLongLong(number) : NULL;
    } else {
        taken = character - '0';
        item = end - *at >= taken ? PyBytes_FromStringAndSize((const char *)*at, taken) : NULL;
    }
    if (item)
        *at += taken;
    return item;
}

/* items_at(data, position, shape, rounds, most_bytes) */
LEAF(items_at)
{
    Py_buffer data;
    Bytes at, end;
    PyObject *items, *item;
    uint64_t rounds, most_bytes;
    Py_ssize_t i, position;
    (void)module;
    if (nargs != 5 || !is_shape(args[2])) {
        PyErr_SetString(PyExc_TypeError, "items_at takes data, a position, a shape and two numbers");
        return NULL;
    }
    rounds = PyLong_AsUnsignedLongLong(args[3]);
    most_bytes = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[4]);
    if (PyErr_Occurred() || !(at = place_of(args, &data)))
        return NULL;
    end = (Bytes)data.buf + data.len;
    items = PyList_New(0);
    while (items && rounds--)
        for (i = 0; items && i < PyBytes_GET_SIZE(args[2]); i++) {
            item = item_at(&at, end, PyBytes_AS_STRING(args[2])[i], most_bytes);
            if (!item && !PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "the data ends early, or makes no sense");
            if (!item || PyList_Append(items, item) < 0)
                Py_CLEAR(items);
            Py_XDECREF(item);
        }
    position = at - (Bytes)data.buf;
    PyBuffer_Release(&data);
    return items ? Py_BuildValue("(Nn)", items, position) : NULL;
}

/* pass_rounds(data, position, shape, rounds, most_bytes) */
LEAF(pass_rounds)
{
    Py_buffer data;
    Bytes at, end;
    uint64_t rounds, most_bytes, number;
    Py_ssize_t position;
    (void)module;
    if (nargs != 5 || !is_shape(args[2])) {
        PyErr_SetString(PyExc_TypeError, "pass_rounds takes data, a position, a shape and two numbers");
        return NULL;
    }
    rounds = PyLong_AsUnsignedLongLong(args[3]);
    most_bytes = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[4]);
    if (PyErr_Occurred() || !(at = place_of(args, &data)))
        return NULL;
    end = (Bytes)data.buf + data.len;
    for (; rounds; rounds--) {
        Bytes p = at;
        const char *character = PyBytes_AS_STRING(args[2]);
        for (; *character; character++) {
            Head head;
            Py_ssize_t taken = *character - '0';
            if (*character == 's')
                taken = head_at(p, end, &head);
            else if (*character == 'n')
                taken = number_at(p, end, &number);
            if (taken <= 0 || end - p < taken || (*character == 's' && is_too_long(&head, most_bytes)))
                goto ended;
            p += taken;
        }
        at = p;
    }
ended:
    position = at - (Bytes)data.buf;
    PyBuffer_Release(&data);
    return Py_BuildValue("(Kn)", (unsigned long long)rounds, position);
}

#define IDLE 248
#define FREQUENCY 249
#define EXPIRES_MS 252
#define EXPIRES_S 253
#define AS_STRING 1

/* A key that stands here with its value, and the place behind it. NULL if there is none, perhaps with an exception. */
static PyObject *entry_at(Bytes *at, Bytes start, Bytes end, Bytes ways, uint64_t most_bytes)
{
    Bytes p = *at, body;
    Head head;
    Py_ssize_t taken;
    uint64_t idle_s = 0;
    long long expires_at_ms = -1;
    int has_idle = 0, frequency = -1, type;
    PyObject *key, *value, *expiry, *idle, *often;
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
    if (p >= end || !ways[*p])
        return NULL;
    type = *p++;
    taken = head_at(p, end, &head);
    if (taken <= 0 || is_too_long(&head, most_bytes) || !(key = string_of(&head, most_bytes)))
        return NULL;
    p += taken;
    body = p;
    taken = head_at(p, end, &head);
    if (taken <= 0 || is_too_long(&head, most_bytes)) {
        Py_DECREF(key);
        return NULL;
    }
    value = string_of(&head, most_bytes);
    if (value && ways[type] != AS_STRING)
        Py_SETREF(value, PyBytes_FromStringAndSize((const char *)body, taken));
    expiry = expires_at_ms == -1 ? Py_NewRef(Py_None) : PyLong_FromLongLong(expires_at_ms);
    idle = has_idle ? PyLong_FromUnsignedLongLong(idle_s) : Py_NewRef(Py_None);
    often = frequency < 0 ? Py_NewRef(Py_None) : PyLong_FromLong(frequency);
    if (!value || !expiry || !idle || !often) {
        Py_DECREF(key);
        Py_XDECREF(value);
        Py_XDECREF(expiry);
        Py_XDECREF(idle);
        Py_XDECREF(often);
        return NULL;
    }
    *at = p + taken;
    return Py_BuildValue("(iNNnNNN)", type, key, value, (Py_ssize_t)(body - start), expiry, idle, often);
}

/* entries_at(data, position, ways, most, most_bytes) */
LEAF(entries_at)
{
    Py_buffer data;
    Bytes at, start;
    PyObject *found;
    uint64_t most_bytes;
    Py_ssize_t most, position;
    (void)module;
    if (nargs != 5 || !PyBytes_Check(args[2]) || PyBytes_GET_SIZE(args[2]) != 256) {
        PyErr_SetString(PyExc_TypeError, "entries_at takes data, a position, a way for each type and two numbers");
        return NULL;
    }
    most = PyLong_AsSsize_t(args[3]);
    most_bytes = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[4]);
    if (PyErr_Occurred() || !(at = place_of(args, &data)))
        return NULL;
    start = data.buf;
    found = PyList_New(0);
    while (found && PyList_GET_SIZE(found) < most) {
        PyObject *entry = entry_at(&at, start, start + data.len, (Bytes)PyBytes_AS_STRING(args[2]), most_bytes);
        if (!entry) {
            if (PyErr_Occurred())
                Py_CLEAR(found);
            break;
        }
        if (PyList_Append(found, entry) < 0)
            Py_CLEAR(found);
        Py_DECREF(entry);
    }
    position = at - start;
    PyBuffer_Release(&data);
    return found ? Py_BuildValue("(Nn)", found, position) : NULL;
}
