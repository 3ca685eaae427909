/* Nodes of streams, each of them a listpack, to columns. */

#include "listpacks.h"

#define DELETED 1
#define SAME_FIELDS 2
#define FLAGS 4
/* An entry has four numbers at least, each in two bytes or more. */
#define LEAST_ENTRY_BYTES 8

/* The entries of a listpack that are left, and how many were read. The first problem stays. */
typedef struct {
    const unsigned char *at, *end;
    Py_ssize_t passed;
    const char *problem;
} Parts;

typedef struct {
    uint64_t milliseconds, sequence;
} Id;

static int is_before(Id one, Id other)
{
    return one.milliseconds != other.milliseconds ? one.milliseconds < other.milliseconds : one.sequence < other.sequence;
}

/* The columns. `fields` and `strings` are lists, the others bytes. */
typedef struct {
    PyObject *fields, *milliseconds, *sequences, *counts, *strings, *marks;
    Py_ssize_t count, width;
    int has_counts, has_marks;
} Columns;

static uint64_t *numbers_of(PyObject *bytes) { return (uint64_t *)(void *)PyBytes_AS_STRING(bytes); }

static int take_entry(Parts *parts, Entry *entry)
{
    if (!parts->problem && parts->at >= parts->end)
        parts->problem = "the listpack ends inside an entry";
    if (!parts->problem)
        parts->problem = next_entry(&parts->at, parts->end, entry);
    parts->passed++;
    return parts->problem ? -1 : 0;
}

/* The next part, a number; 0 behind a problem. */
static long long take_number(Parts *parts)
{
    Entry entry;
    if (take_entry(parts, &entry) < 0)
        return 0;
    if (entry.string && !is_integer(entry.string, (Py_ssize_t)entry.length, &entry.number)) {
        parts->problem = "text stands where a number should";
        return 0;
    }
    return entry.number;
}

/* Append so many strings. Return -1 for a problem, or with an exception. */
static int take_strings(Parts *parts, Py_ssize_t count, PyObject *strings)
{
    for (; count; count--) {
        Entry entry;
        PyObject *string;
        int failed;
        if (take_entry(parts, &entry) < 0)
            return -1;
        string = entry_string(&entry);
        failed = !string || PyList_Append(strings, string) < 0;
        Py_XDECREF(string);
        if (failed)
            return -1;
    }
    return 0;
}

/* Of the last strings, fields and values in turn, keep only the values if these are the fields of the first entry. Return 1 if
   they are, and -1 with an exception. */
static int keep_values(Columns *columns, Py_ssize_t begin)
{
    Py_ssize_t width = columns->width, i;
    PyObject *strings = columns->strings, *row, *values;
    int failed;
    for (i = 0; i < width; i++) {
        PyObject *one = PyList_GET_ITEM(strings, begin + 2 * i), *other = PyList_GET_ITEM(columns->fields, i);
        if (PyBytes_GET_SIZE(one) != PyBytes_GET_SIZE(other) ||
            memcmp(PyBytes_AS_STRING(one), PyBytes_AS_STRING(other), (size_t)PyBytes_GET_SIZE(one)))
            return 0;
    }
    row = PyList_GetSlice(strings, begin, begin + 2 * width);
    values = row ? PyList_New(width) : NULL;
    for (i = 0; values && i < width; i++)
        PyList_SET_ITEM(values, i, Py_NewRef(PyList_GET_ITEM(row, 2 * i + 1)));
    failed = !values || PyList_SetSlice(strings, begin, begin + 2 * width, values) < 0;
    Py_XDECREF(row);
    Py_XDECREF(values);
    return failed ? -1 : 1;
}

/* Read the entry at a place. Return -1 for a problem, or with an exception. */
static int take_row(Parts *parts, Columns *columns, Py_ssize_t place, Id first)
{
    long long flags = take_number(parts), count = 0, wanted;
    Py_ssize_t begin = PyList_GET_SIZE(columns->strings), most = parts->end - parts->at;
    int is_same = (flags & SAME_FIELDS) != 0;
    numbers_of(columns->milliseconds)[place] = first.milliseconds + (uint64_t)take_number(parts);
    numbers_of(columns->sequences)[place] = first.sequence + (uint64_t)take_number(parts);
    PyBytes_AS_STRING(columns->marks)[place] = (char)(flags & DELETED);
    columns->has_marks |= (int)(flags & DELETED);
    if (!is_same)
        count = take_number(parts);
    if (!parts->problem && (flags < 0 || flags >= FLAGS || (!is_same && (count <= 0 || count > most))))
        parts->problem = "an entry has other flags, or another number of fields";
    if (parts->problem || take_strings(parts, is_same ? columns->width : 2 * (Py_ssize_t)count, columns->strings) < 0)
        return -1;
    wanted = is_same ? columns->width + 3 : 2 * count + 4;
    if (!is_same && count == columns->width) {
        is_same = keep_values(columns, begin);
        if (is_same < 0)
            return -1;
    }
    numbers_of(columns->counts)[place] = is_same ? 0 : 2 * (uint64_t)count;
    columns->has_counts |= !is_same;
    if (take_number(parts) != wanted && !parts->problem)
        parts->problem = "an entry has another number of parts than it says";
    return parts->problem ? -1 : 0;
}

/* Bring the ids into order, and make the milliseconds those behind the first. NULL, or what is wrong. */
static const char *put_in_order(Columns *columns, Id first)
{
    uint64_t *milliseconds = numbers_of(columns->milliseconds), *sequences = numbers_of(columns->sequences);
    const char *marks = PyBytes_AS_STRING(columns->marks);
    Id last = first, end = first;
    Py_ssize_t i, next = 0;
    for (i = 0; i < columns->count; i++) {
        Id id = {milliseconds[i], sequences[i]};
        if (marks[i]) {
            /* The next one that was not deleted. */
            if (next <= i) {
                for (next = i + 1; next < columns->count && marks[next]; next++)
                    ;
                if (next < columns->count)
                    end = (Id){milliseconds[next], sequences[next]};
            }
            if (is_before(id, last) || (next < columns->count && !is_before(id, end)))
                id = last;
            else if (i && !is_before(last, id))
                return "an entry comes before the one in front of it";
        } else if (is_before(id, last) || (i && !is_before(last, id))) {
            return "an entry comes before the one in front of it";
        }
        milliseconds[i] = id.milliseconds - first.milliseconds;
        sequences[i] = id.sequence;
        last = id;
    }
    return NULL;
}

static int make_columns(Columns *columns)
{
    Py_ssize_t bytes = columns->count * (Py_ssize_t)sizeof(uint64_t);
    columns->milliseconds = PyBytes_FromStringAndSize(NULL, bytes);
    columns->sequences = PyBytes_FromStringAndSize(NULL, bytes);
    columns->counts = PyBytes_FromStringAndSize(NULL, bytes);
    columns->marks = PyBytes_FromStringAndSize(NULL, columns->count);
    columns->strings = PyList_New(0);
    return columns->milliseconds && columns->sequences && columns->counts && columns->marks && columns->strings ? 0 : -1;
}

/* Read a whole listpack. NULL, or what is wrong, perhaps with an exception. */
static const char *read_columns(const unsigned char *data, Py_ssize_t length, Id first, Columns *columns)
{
    Parts parts = {data + HEAD_BYTES, data + length - 1, 0, NULL};
    long long live = take_number(&parts), gone = take_number(&parts), width = take_number(&parts);
    Py_ssize_t i;
    if (parts.problem)
        return parts.problem;
    if (live < 0 || gone < 0 || live > length || gone > length || width <= 0 || width > length)
        return "a number is no length of anything there";
    columns->count = (Py_ssize_t)(live + gone);
    columns->width = (Py_ssize_t)width;
    if (!columns->count || columns->count > length / LEAST_ENTRY_BYTES)
        return "another number of entries than it says";
    columns->fields = PyList_New(0);
    if (!columns->fields || take_strings(&parts, columns->width, columns->fields) < 0)
        return parts.problem ? parts.problem : "no memory";
    if (take_number(&parts) && !parts.problem)
        parts.problem = "no zero behind the fields";
    if (parts.problem || make_columns(columns) < 0)
        return parts.problem ? parts.problem : "no memory";
    for (i = 0; i < columns->count; i++) {
        if (take_row(&parts, columns, i, first) < 0)
            return parts.problem ? parts.problem : "no memory";
        gone -= PyBytes_AS_STRING(columns->marks)[i];
    }
    if (parts.at < parts.end || gone || !has_count(data, parts.passed))
        return "another number of entries than it says";
    return put_in_order(columns, first);
}

/* read_node(data, milliseconds, sequence) */
LEAF(read_node)
{
    Columns columns = {NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0};
    const char *problem = "the data has another length than it says, or no end";
    PyObject *found = NULL;
    Id first;
    (void)module;
    if (nargs != 3 || !PyBytes_Check(args[0]) || !PyLong_Check(args[1]) || !PyLong_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "read_node takes bytes and two numbers");
        return NULL;
    }
    first.milliseconds = PyLong_AsUnsignedLongLong(args[1]);
    first.sequence = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[2]);
    if (PyErr_Occurred())
        return NULL;
    if (is_listpack((const unsigned char *)PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0])))
        problem = read_columns((const unsigned char *)PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0]), first, &columns);
    if (!problem)
        found = PyTuple_Pack(6, columns.fields, columns.milliseconds, columns.sequences,
                             columns.has_counts ? columns.counts : Py_None, columns.strings,
                             columns.has_marks ? columns.marks : Py_None);
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, problem);
    Py_XDECREF(columns.fields);
    Py_XDECREF(columns.milliseconds);
    Py_XDECREF(columns.sequences);
    Py_XDECREF(columns.counts);
    Py_XDECREF(columns.strings);
    Py_XDECREF(columns.marks);
    return found;
}
