/* The module of the leaves in C. */

#include "leaves.h"

#define ENTRY(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}

static PyMethodDef leaves[] = {
#ifdef HAS_FETCH_AHEAD
    ENTRY(fetch_ahead),
#endif
#define NAME(name) ENTRY(name),
#include "names.h"
#undef NAME
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
    fill_crc64_tables();
    module = PyModule_Create(&definition);
    /* The digest of the sources, by which a test knows that no older ones were built, and that of the twins, beside which they
       were (`choice.py`). */
    if (module && (PyModule_AddStringConstant(module, "SOURCES", KVSERVER_SOURCES) < 0 ||
                   PyModule_AddStringConstant(module, "TWINS", KVSERVER_TWINS) < 0))
        Py_CLEAR(module);
    return module;
}
