/* Looks into packed collections, and usual calls on them alone. */

#include "packed.h"

/* value_of(packed, name) */
LEAF(value_of)
{
    Text text;
    Py_ssize_t passed;
    const char *found;
    if (nargs != 2 || !PyBytes_Check(args[1]) || take_text(args[0], "hz", &text)) {
        PyErr_SetString(PyExc_TypeError, "value_of takes packed pairs and a name");
        return NULL;
    }
    found = find_word(&text, args[1], 1, &passed);
    if (!found)
        Py_RETURN_NONE;
    found += PyBytes_GET_SIZE(args[1]) + 1;
    return PyBytes_FromStringAndSize(found, next_nul(&text, found - 1) - found);
}

/* has_member(packed, member) */
LEAF(has_member)
{
    Text text;
    Py_ssize_t passed;
    if (nargs != 2 || !PyBytes_Check(args[1]) || take_text(args[0], "isl", &text)) {
        PyErr_SetString(PyExc_TypeError, "has_member takes packed members and a member");
        return NULL;
    }
    return PyBool_FromLong(find_word(&text, args[1], 0, &passed) != NULL);
}

CALL_LEAF(add_member)
CALL_LEAF(add_score)
CALL_LEAF(find_member)
CALL_LEAF(get_field)
CALL_LEAF(pop_left)
CALL_LEAF(pop_right)
CALL_LEAF(push_left)
CALL_LEAF(push_right)
CALL_LEAF(remove_member)
CALL_LEAF(set_field)
