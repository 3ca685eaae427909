/* The usual calls of hashes, lists and sets, on packed collections. */

#include "packed.h"

int call_get_field(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    Text text;
    Py_ssize_t passed;
    const char *found;
    (void)config, (void)most;
    if (!has_words(request, 3) || (entry && take_text(entry, "h", &text)))
        return 1;
    found = entry ? find_word(&text, PyList_GET_ITEM(request, 2), 1, &passed) : NULL;
    if (found) {
        outcome->reply = STRING;
        outcome->string = found + PyBytes_GET_SIZE(PyList_GET_ITEM(request, 2)) + 1;
        outcome->length = next_nul(&text, outcome->string - 1) - outcome->string;
    }
    return 0;
}

int call_find_member(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    Text text;
    Py_ssize_t passed;
    (void)config, (void)most;
    if (!has_words(request, 3) || (entry && take_text(entry, "is", &text)))
        return 1;
    return reply_number(outcome, entry && find_word(&text, PyList_GET_ITEM(request, 2), 0, &passed) ? 1 : 0);
}

static const char NEW_HASH[] = "h", NEW_LIST[] = "l", NEW_SET[] = "s", NEW_INTSET[] = "i";

/* Begin to read an entry that may be missing, of a kind of one mark. */
static int take_or_begin(PyObject *entry, const char *mark, Text *text)
{
    if (entry)
        return take_text(entry, mark, text);
    /* The mark, and the NUL behind it. */
    text->start = mark;
    text->stop = mark + 2;
    return 0;
}

int call_set_field(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    static PyObject *value_name, *entries_name;
    Text text;
    Pieces pieces;
    PyObject *field, *value;
    Py_ssize_t passed;
    long long longest, entries;
    const char *found;
    if (take_or_begin(entry, NEW_HASH, &text))
        return 1;
    /* This may run Python code, which may change the request. */
    if (take_limit(config, &value_name, "hash_max_listpack_value", &longest) < 0 ||
        take_limit(config, &entries_name, "hash_max_listpack_entries", &entries) < 0)
        return -1;
    if (!has_words(request, 4))
        return 1;
    field = PyList_GET_ITEM(request, 2);
    value = PyList_GET_ITEM(request, 3);
    if (!can_pack(field) || !can_pack(value))
        return 1;
    if (PyBytes_GET_SIZE(field) > longest || PyBytes_GET_SIZE(value) > longest || entries < most)
        return 1;
    pieces.used = pieces.is_full = 0;
    found = find_word(&text, field, 1, &passed);
    if (found) {
        const char *present = found + PyBytes_GET_SIZE(field) + 1, *end = next_nul(&text, present - 1);
        put(&pieces, text.start, present - text.start);
        put_word(&pieces, value, "");
        put(&pieces, end + 1, text.stop - end - 1);
    } else {
        if (passed > most)
            return 1;
        put(&pieces, text.start, text.stop - text.start);
        put_word(&pieces, field, "\1");
        put_word(&pieces, value, "");
    }
    reply_number(outcome, !found);
    return change_to(outcome, &pieces);
}

static int push(PyObject *entry, PyObject *request, long long most, Outcome *outcome, int is_left)
{
    Text text;
    Pieces pieces;
    PyObject *element;
    const char *nul;
    long long length = 0;
    if (!has_words(request, 3) || take_or_begin(entry, NEW_LIST, &text))
        return 1;
    element = PyList_GET_ITEM(request, 2);
    for (nul = text.start + 1; nul; nul = next_nul(&text, nul))
        length++;
    if (length > most || !can_pack(element))
        return 1;
    pieces.used = pieces.is_full = 0;
    if (is_left) {
        put(&pieces, text.start, 2);
        put_word(&pieces, element, "");
        put(&pieces, text.start + 2, text.stop - text.start - 2);
    } else {
        put(&pieces, text.start, text.stop - text.start);
        put_word(&pieces, element, "");
    }
    reply_number(outcome, length);
    return change_to(outcome, &pieces);
}

int call_push_left(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    (void)config;
    return push(entry, request, most, outcome, 1);
}

int call_push_right(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    (void)config;
    return push(entry, request, most, outcome, 0);
}

static int pop(PyObject *entry, PyObject *request, Outcome *outcome, int is_left)
{
    Text text;
    Pieces pieces;
    const char *from, *end;
    if (!has_words(request, 2) || (entry && take_text(entry, "l", &text)))
        return 1;
    if (!entry)
        return 0;
    if (text.stop - text.start < 3)
        return 1;
    if (is_left) {
        from = text.start + 2;
        end = next_nul(&text, from - 1);
    } else {
        end = text.stop - 1;
        for (from = end; from[-1]; from--)
            ;
    }
    outcome->reply = STRING;
    outcome->string = from;
    outcome->length = end - from;
    pieces.used = pieces.is_full = 0;
    put(&pieces, text.start, from - text.start);
    put(&pieces, end + 1, text.stop - end - 1);
    outcome->is_changed = 1;
    return pieces.used > 2 || pieces.is_full ? change_to(outcome, &pieces) : 0;
}

int call_pop_left(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    (void)config, (void)most;
    return pop(entry, request, outcome, 1);
}

int call_pop_right(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    (void)config, (void)most;
    return pop(entry, request, outcome, 0);
}

/* True for what Redis's string2ll takes for an integer of 64 bits. */
static int is_integer(PyObject *member)
{
    static const char most[] = "9223372036854775807", least[] = "9223372036854775808";
    const char *digits = PyBytes_AS_STRING(member);
    Py_ssize_t length = PyBytes_GET_SIZE(member), i;
    int is_negative = length > 1 && digits[0] == '-';
    if (length == 1 && digits[0] == '0')
        return 1;
    digits += is_negative;
    length -= is_negative;
    if (!length || length > 19 || digits[0] == '0')
        return 0;
    for (i = 0; i < length; i++)
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
    return length < 19 || memcmp(digits, is_negative ? least : most, 19) <= 0;
}

int call_add_member(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    static PyObject *entries_name;
    Text text;
    Pieces pieces;
    PyObject *member;
    Py_ssize_t passed;
    long long entries = 0;
    if (entry && take_text(entry, "is", &text))
        return 1;
    /* This may run Python code, which may change the request. */
    if ((!entry || text.start[0] == 'i') && take_limit(config, &entries_name, "set_max_intset_entries", &entries) < 0)
        return -1;
    if (!has_words(request, 3))
        return 1;
    member = PyList_GET_ITEM(request, 2);
    if (!can_pack(member))
        return 1;
    if (!entry)
        take_or_begin(NULL, is_integer(member) ? NEW_INTSET : NEW_SET, &text);
    if (find_word(&text, member, 0, &passed))
        return reply_number(outcome, 0);
    /* The mark has a NUL behind it, too. */
    if (passed > most)
        return 1;
    if (text.start[0] == 'i' && (passed - 1 >= entries || !is_integer(member)))
        return 1;
    pieces.used = pieces.is_full = 0;
    put(&pieces, text.start, text.stop - text.start);
    put_word(&pieces, member, "");
    reply_number(outcome, 1);
    return change_to(outcome, &pieces);
}

int call_remove_member(PyObject *entry, PyObject *request, PyObject *config, long long most, Outcome *outcome)
{
    Text text;
    Pieces pieces;
    PyObject *member;
    Py_ssize_t passed;
    const char *found;
    (void)config, (void)most;
    if (!has_words(request, 3) || (entry && take_text(entry, "is", &text)))
        return 1;
    member = PyList_GET_ITEM(request, 2);
    found = entry ? find_word(&text, member, 0, &passed) : NULL;
    if (!found)
        return reply_number(outcome, 0);
    pieces.used = pieces.is_full = 0;
    put(&pieces, text.start, found - text.start);
    found += PyBytes_GET_SIZE(member) + 1;
    put(&pieces, found, text.stop - found);
    reply_number(outcome, 1);
    outcome->is_changed = 1;
    return pieces.used > 2 || pieces.is_full ? change_to(outcome, &pieces) : 0;
}
