/* The module of the leaves in C. */

#include "leaves.h"

#define ENTRY(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}

static PyMethodDef leaves[] = {
#ifdef HAS_FETCH_AHEAD
    ENTRY(fetch_ahead),
#endif
    ENTRY(add_member),
    ENTRY(add_score),
    ENTRY(check_records),
    ENTRY(count_alike),
    ENTRY(cut_replies),
    ENTRY(decode),
    ENTRY(encode_members),
    ENTRY(encode_short),
    ENTRY(find_member),
    ENTRY(get_field),
    ENTRY(get_replies),
    ENTRY(get_values),
    ENTRY(has_member),
    ENTRY(increment_all),
    ENTRY(items_between),
    ENTRY(keys_between),
    ENTRY(pack_short),
    ENTRY(pop_left),
    ENTRY(pop_right),
    ENTRY(push_left),
    ENTRY(push_right),
    ENTRY(put_pairs),
    ENTRY(read_strings),
    ENTRY(remove_member),
    ENTRY(run_calls),
    ENTRY(set_all),
    ENTRY(set_field),
    ENTRY(set_pairs),
    ENTRY(sort_strings),
    ENTRY(sorted_members),
    ENTRY(split_records),
    ENTRY(table_place),
    ENTRY(take_items),
    ENTRY(value_of),
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_compiled", NULL, -1, leaves, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__compiled(void);

PyObject *builtin_hash;

PyMODINIT_FUNC PyInit__compiled(void)
{
    PyObject *module, *builtins = PyImport_ImportModule("builtins");
    if (!builtins)
        return NULL;
    builtin_hash = PyObject_GetAttrString(builtins, "hash");
    Py_DECREF(builtins);
    if (!builtin_hash)
        return NULL;
    fill_crc_tables();
    module = PyModule_Create(&definition);
    /* The digest of the sources, by which a test knows that no older ones were built, and that of the twins, beside which they
       were (`choice.py`). */
    if (module && (PyModule_AddStringConstant(module, "SOURCES", KVSERVER_SOURCES) < 0 ||
                   PyModule_AddStringConstant(module, "TWINS", KVSERVER_TWINS) < 0))
        Py_CLEAR(module);
    return module;
}
