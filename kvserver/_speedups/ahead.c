/* fetch_ahead: have the processor fetch what looking up keys will read.

   A look-up waits for memory some six times, one time after the other: for the dict, the head of its table, the index, the
   entry, the key and the value. Here all look-ups of a batch wait at the same time, stage by stage. To ask for memory changes
   nothing, and never fails, whatever the address. Where a dict keeps what is read from CPython's own header. */

/* CPython's own headers ask for this. */
#define Py_BUILD_CORE_MODULE 1
#include "leaves.h"

#ifdef HAS_FETCH_AHEAD

#include <stddef.h>
/* They use what they deprecate for others. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <internal/pycore_dict.h>
#pragma GCC diagnostic pop

/* So many are fetched at once: as much as the first cache holds. */
#define MOST 64
#define CACHE_LINE 64

typedef struct {
    PyObject *dict;
    Py_hash_t hash;
    /* The slot of the index, and then the entry, or NULL where the key is surely not there. */
    const char *place;
} Lookup;

static inline void fetch(const void *place) { __builtin_prefetch(place); }

static inline PyDictKeysObject *table_of(PyObject *dict) { return ((PyDictObject *)dict)->ma_keys; }

/* The bytes of one slot of the index: 1, 2 or 4; 0 for what this does not follow. */
static inline int slot_bytes(const PyDictKeysObject *table)
{
    int log2_bytes = table->dk_log2_index_bytes - table->dk_log2_size;
    return table->dk_kind == DICT_KEYS_GENERAL && log2_bytes >= 0 && log2_bytes <= 2 ? 1 << log2_bytes : 0;
}

static const char *slot_of(const PyDictKeysObject *table, Py_hash_t hash)
{
    size_t number = (size_t)hash & (((size_t)1 << table->dk_log2_size) - 1);
    int bytes = slot_bytes(table);
    return bytes ? (const char *)table->dk_indices + number * (size_t)bytes : NULL;
}

static const char *entry_of(PyDictKeysObject *table, const char *slot)
{
    Py_ssize_t index;
    switch (slot_bytes(table)) {
    case 1: index = *(const int8_t *)slot; break;
    case 2: index = *(const int16_t *)slot; break;
    case 4: index = *(const int32_t *)slot; break;
    default: return NULL;
    }
    return index < 0 ? NULL : (const char *)(DK_ENTRIES(table) + index);
}

static void fetch_lookups(Lookup *lookups, Py_ssize_t count)
{
    Py_ssize_t i;
    for (i = 0; i < count; i++)
        fetch(table_of(lookups[i].dict));
    for (i = 0; i < count; i++)
        if ((lookups[i].place = slot_of(table_of(lookups[i].dict), lookups[i].hash)))
            fetch(lookups[i].place);
    for (i = 0; i < count; i++)
        if (lookups[i].place) {
            PyDictKeysObject *table = table_of(lookups[i].dict);
            lookups[i].place = entry_of(table, lookups[i].place);
            /* A key that is not there may be about to be stored, behind the last entry. */
            fetch(lookups[i].place ? lookups[i].place : (const char *)(DK_ENTRIES(table) + table->dk_nentries));
        }
    for (i = 0; i < count; i++)
        if (lookups[i].place) {
            const PyDictKeyEntry *entry = (const PyDictKeyEntry *)lookups[i].place;
            const char *key = (const char *)entry->me_key, *value = (const char *)entry->me_value;
            /* The head of an object and what it holds may lie in two lines, and usual values go on in a third. */
            fetch(key);
            fetch(key + CACHE_LINE / 2);
            fetch(value);
            fetch(value + CACHE_LINE);
        }
}

/* Begin the look-up of a key. Return 0 if it is none. */
static int begin_lookup(Lookup *lookup, PyObject *shards, PyObject *key)
{
    Py_ssize_t count = PyList_GET_SIZE(shards), shard;
    if (!PyBytes_CheckExact(key))
        return 0;
    lookup->hash = PyObject_Hash(key);
    shard = lookup->hash % count;
    lookup->dict = PyList_GET_ITEM(shards, shard < 0 ? shard + count : shard);
    if (!PyDict_CheckExact(lookup->dict))
        return 0;
    fetch((const char *)lookup->dict + offsetof(PyDictObject, ma_keys));
    return 1;
}

/* Fetch for the words of one request, from the second one on, each or every other one: those of a list that are keys. */
void fetch_keys(PyObject *shards, PyObject *request, Py_ssize_t step)
{
    Lookup lookups[MOST];
    Py_ssize_t count = 0, i;
    if (!PyList_GET_SIZE(shards))
        return;
    for (i = 1; i < PyList_GET_SIZE(request); i += step) {
        count += begin_lookup(&lookups[count], shards, PyList_GET_ITEM(request, i));
        if (count == MOST) {
            fetch_lookups(lookups, count);
            count = 0;
        }
    }
    fetch_lookups(lookups, count);
}

/* Fetch for pairs of a key and what will be stored under it, from one on: no more than `count`, and than fit. */
void fetch_pairs(PyObject *shards, PyObject *pairs, Py_ssize_t first, Py_ssize_t count)
{
    Lookup lookups[MOST];
    Py_ssize_t found = 0, i;
    if (!PyList_GET_SIZE(shards))
        return;
    for (i = first; i < first + count && i < PyList_GET_SIZE(pairs) && found < MOST; i++) {
        PyObject *pair = PyList_GET_ITEM(pairs, i);
        if (PyTuple_Check(pair) && PyTuple_GET_SIZE(pair))
            found += begin_lookup(&lookups[found], shards, PyTuple_GET_ITEM(pair, 0));
    }
    fetch_lookups(lookups, found);
}

/* fetch_ahead(shards, places, requests) */
LEAF(fetch_ahead)
{
    Lookup lookups[MOST];
    Py_ssize_t count = 0, places, i;
    if (nargs != 3 || !PyList_Check(args[0]) || !PyList_Check(args[1]) || !PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "fetch_ahead takes three lists");
        return NULL;
    }
    places = PyList_GET_SIZE(args[1]);
    if (!PyList_GET_SIZE(args[0]))
        Py_RETURN_NONE;
    for (i = 0; i < PyList_GET_SIZE(args[2]); i++) {
        PyObject *request = PyList_GET_ITEM(args[2], i);
        if (!PyList_Check(request) || PyList_GET_SIZE(request) < 2)
            continue;
        if (!begin_lookup(&lookups[count], args[0], PyList_GET_ITEM(request, 1)))
            continue;
        if (places) {
            Py_ssize_t place = lookups[count].hash % places;
            fetch(&((PyListObject *)args[1])->ob_item[place < 0 ? place + places : place]);
        }
        if (++count == MOST) {
            fetch_lookups(lookups, count);
            count = 0;
        }
    }
    fetch_lookups(lookups, count);
    Py_RETURN_NONE;
}

#endif
