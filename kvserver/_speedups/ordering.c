/* The order of the members of a snapshot, and their JSON. */

#include "leaves.h"

/* So many strings are fetched ahead of the one that is looked at. */
#define FETCHED 16
#define fetch(place) __builtin_prefetch((const char *)(place))

/* A string with the eight bytes behind those that all have in common, which mostly tell the order. */
typedef struct {
    uint64_t key;
    PyObject *string;
    Py_ssize_t number;
} Item;

static uint64_t key_at(const char *bytes, Py_ssize_t length, Py_ssize_t from)
{
    uint64_t key = 0;
    Py_ssize_t i;
    for (i = from; i < from + 8; i++)
        key = key << 8 | (i < length ? (unsigned char)bytes[i] : 0);
    return key;
}

static int stands_before(const Item *first, const Item *second, Py_ssize_t common)
{
    Py_ssize_t one, other;
    int order;
    if (first->key != second->key)
        return first->key < second->key;
    one = PyBytes_GET_SIZE(first->string);
    other = PyBytes_GET_SIZE(second->string);
    order = memcmp(PyBytes_AS_STRING(first->string) + common, PyBytes_AS_STRING(second->string) + common,
                   (size_t)((one < other ? one : other) - common));
    return order ? order < 0 : one < other;
}

/* Sort by merging, with room for as many items. */
static void sort_items(Item *items, Item *room, Py_ssize_t count, Py_ssize_t common)
{
    Py_ssize_t half = count / 2, left = 0, right = half, i;
    if (count < 2)
        return;
    sort_items(items, room, half, common);
    sort_items(items + half, room, count - half, common);
    /* What is in order already is left alone. */
    if (!stands_before(items + half, items + half - 1, common))
        return;
    memcpy(room, items, (size_t)half * sizeof(Item));
    for (i = 0; left < half; i++) {
        if (right < count && stands_before(items + right, room + left, common))
            items[i] = items[right++];
        else
            items[i] = room[left++];
    }
}

/* The strings of a list in their order, to be freed by PyMem_Free; NULL with an exception. An empty list has room, too. */
static Item *in_order(PyObject *strings)
{
    Py_ssize_t count = PyList_GET_SIZE(strings), common = PY_SSIZE_T_MAX, i;
    const char *first = NULL;
    Item *items = PyMem_Malloc((size_t)(count + count / 2 + 1) * sizeof(Item));
    if (!items) {
        PyErr_NoMemory();
        return NULL;
    }
    for (i = 0; i < count; i++) {
        PyObject *string = PyList_GET_ITEM(strings, i);
        Py_ssize_t length, same = 0;
        if (i + FETCHED < count)
            fetch(PyBytes_AS_STRING(PyList_GET_ITEM(strings, i + FETCHED)));
        if (!PyBytes_CheckExact(string)) {
            PyMem_Free(items);
            PyErr_SetString(PyExc_TypeError, "only lists of bytes are put in order");
            return NULL;
        }
        items[i].string = string;
        items[i].number = i;
        length = PyBytes_GET_SIZE(string);
        if (!first)
            first = PyBytes_AS_STRING(string);
        if (length < common)
            common = length;
        while (same < common && PyBytes_AS_STRING(string)[same] == first[same])
            same++;
        common = same;
    }
    for (i = 0; i < count; i++)
        items[i].key = key_at(PyBytes_AS_STRING(items[i].string), PyBytes_GET_SIZE(items[i].string), common);
    sort_items(items, items + count, count, common);
    return items;
}

/* sort_strings(strings) */
LEAF(sort_strings)
{
    Py_ssize_t i;
    Item *items;
    if (nargs != 1 || !PyList_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "sort_strings takes a list of bytes");
        return NULL;
    }
    items = in_order(args[0]);
    if (!items)
        return NULL;
    /* The same references stand in another order. */
    for (i = 0; i < PyList_GET_SIZE(args[0]); i++)
        PyList_SET_ITEM(args[0], i, items[i].string);
    PyMem_Free(items);
    Py_RETURN_NONE;
}

/* sorted_members(names, values, most) */
LEAF(sorted_members)
{
    Py_ssize_t count, most, i;
    PyObject *members, *values;
    Item *items;
    if (nargs != 3 || !PyList_CheckExact(args[0]) || !PyList_CheckExact(args[1]) ||
        PyList_GET_SIZE(args[0]) != PyList_GET_SIZE(args[1])) {
        PyErr_SetString(PyExc_TypeError, "sorted_members takes two lists of one length and a number");
        return NULL;
    }
    most = PyNumber_AsSsize_t(args[2], PyExc_OverflowError);
    if (PyErr_Occurred())
        return NULL;
    count = PyList_GET_SIZE(args[0]);
    values = args[1];
    /* The garbage collector may start here, and run anything. Behind this nothing does. */
    members = PyList_New(count);
    if (members && (PyList_GET_SIZE(args[0]) != count || PyList_GET_SIZE(values) != count)) {
        PyErr_SetString(PyExc_RuntimeError, "the lists have changed");
        Py_CLEAR(members);
    }
    items = members ? in_order(args[0]) : NULL;
    if (!items)
        Py_CLEAR(members);
    for (i = 0; members && i < count; i++) {
        PyObject *name = items[i].string, *value = PyList_GET_ITEM(values, items[i].number), *member;
        Py_ssize_t length = PyBytes_GET_SIZE(name), value_length = 1;
        const char *from = "";
        char *to;
        if (i + FETCHED < count) {
            PyObject *later = PyList_GET_ITEM(values, items[i + FETCHED].number);
            fetch(later);
            fetch((const char *)later + 64);
        }
        if (PyBytes_CheckExact(value) && PyBytes_GET_SIZE(value) <= most) {
            from = PyBytes_AS_STRING(value);
            value_length = PyBytes_GET_SIZE(value);
        }
        member = PyBytes_FromStringAndSize(NULL, length + 1 + value_length);
        if (!member) {
            Py_CLEAR(members);
            break;
        }
        to = PyBytes_AS_STRING(member);
        memcpy(to, PyBytes_AS_STRING(name), (size_t)length);
        to[length] = 0;
        memcpy(to + length + 1, from, (size_t)value_length);
        PyList_SET_ITEM(members, i, member);
    }
    PyMem_Free(items);
    return members;
}

/* Copy bytes. Returns 0 if JSON escapes one of them. Sets the flag if some are not ASCII. */
static int copy_plain(char *to, const char *from, Py_ssize_t length, int *is_high)
{
    uint64_t word, escaped = 0, high = 0;
    Py_ssize_t i = 0, left;
    for (; i < length; i += WORD_BYTES) {
        left = length - i < WORD_BYTES ? length - i : WORD_BYTES;
        /* The rest of the last word is plain. */
        word = EACH_BYTE * ' ';
        memcpy(&word, from + i, (size_t)left);
        escaped |= has_escaped(word);
        high |= word & HIGH_BITS;
    }
    memcpy(to, from, (size_t)length);
    *is_high |= high != 0;
    return !escaped;
}

static inline char *put(char *to, const char *from, Py_ssize_t length)
{
    memcpy(to, from, (size_t)length);
    return to + length;
}

static PyObject *none_without(PyObject *piece)
{
    Py_DECREF(piece);
    Py_RETURN_NONE;
}

/* encode_members(members, start, separator) */
LEAF(encode_members)
{
    Py_ssize_t count, size, i, start_length, separator_length;
    PyObject *piece;
    const char *start;
    char *to;
    int is_high = 0;
    if (nargs != 3 || !PyList_CheckExact(args[0]) || !PyList_GET_SIZE(args[0]) || !PyBytes_CheckExact(args[1]) ||
        !PyBytes_CheckExact(args[2])) {
        PyErr_SetString(PyExc_TypeError, "encode_members takes a list of members, one at least, and two byte strings");
        return NULL;
    }
    count = PyList_GET_SIZE(args[0]);
    start = PyBytes_AS_STRING(args[1]);
    start_length = PyBytes_GET_SIZE(args[1]);
    separator_length = PyBytes_GET_SIZE(args[2]);
    /* A member has a NUL, in place of which three characters stand, and two quotes and a comma around it. */
    size = separator_length + count * (start_length + 5) - 1;
    for (i = 0; i < count; i++) {
        PyObject *member = PyList_GET_ITEM(args[0], i);
        if (!PyBytes_CheckExact(member)) {
            PyErr_SetString(PyExc_TypeError, "a member is bytes");
            return NULL;
        }
        size += PyBytes_GET_SIZE(member);
    }
    piece = PyBytes_FromStringAndSize(NULL, size);
    if (!piece)
        return NULL;
    to = put(PyBytes_AS_STRING(piece), PyBytes_AS_STRING(args[2]), separator_length);
    for (i = 0; i < count; i++) {
        PyObject *member = PyList_GET_ITEM(args[0], i);
        const char *name = PyBytes_AS_STRING(member);
        Py_ssize_t length = PyBytes_GET_SIZE(member), name_length;
        const char *nul = memchr(name, 0, (size_t)length);
        if (!nul)
            return none_without(piece);
        name_length = nul - name;
        if (i)
            *to++ = ',';
        *to++ = '"';
        if (!copy_plain(to, start, start_length, &is_high) ||
            !copy_plain(to + start_length, name, name_length, &is_high))
            return none_without(piece);
        to = put(to + start_length + name_length, "\":\"", 3);
        if (!copy_plain(to, nul + 1, length - name_length - 1, &is_high))
            return none_without(piece);
        to += length - name_length - 1;
        *to++ = '"';
    }
    if (is_high) {
        PyObject *text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(piece), size, NULL);
        if (!text) {
            Py_DECREF(piece);
            if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
                return NULL;
            PyErr_Clear();
            Py_RETURN_NONE;
        }
        Py_DECREF(text);
    }
    return piece;
}
