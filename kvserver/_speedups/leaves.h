/* What the files in C of this folder share. What a LEAF does, the Python function of its name says, which is in the .py file
   beside the .c file.

   A leaf checks the types of all that it is given, and raises TypeError for what its twin is never given. It may run Python
   code for the digest of a key, where a test has put another one in place of hash(), for an attribute of the configuration or
   of an entry, where a value is freed that was replaced, and where a tuple or a list is made: there the garbage collector may
   start. Behind these it asks lists for their length and items anew, and it holds what it still needs. */

#ifndef KVSERVER_LEAVES_H
#define KVSERVER_LEAVES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#ifdef Py_GIL_DISABLED
#error "the leaves rely on the interpreter's lock"
#endif
#if PY_VERSION_HEX < 0x030B0000 || defined(PYPY_VERSION)
#error "the leaves are for CPython from 3.11 on"
#endif

#define LEAF(name) PyObject *name(PyObject *module, PyObject *const *args, Py_ssize_t nargs)

/* Where a dict keeps what is known of these versions. */
#if PY_VERSION_HEX < 0x030E0000 && defined(__has_include)
#if __has_include(<internal/pycore_dict.h>)
#define HAS_FETCH_AHEAD 1
LEAF(fetch_ahead);
void fetch_keys(PyObject *shards, PyObject *request, Py_ssize_t step);
void fetch_pairs(PyObject *shards, PyObject *pairs, Py_ssize_t first, Py_ssize_t count);
#endif
#endif
#ifndef HAS_FETCH_AHEAD
#define fetch_keys(shards, request, step)
#define fetch_pairs(shards, pairs, first, count)
#endif

#define NAME(name) LEAF(name);
#include "names.h"
#undef NAME

/* Read one request and go behind it. NULL without an exception if it is not whole, or unusual. */
PyObject *read_request(const char **at, const char *end);

/* The bytes before the payload of a record of the journal. */
#define RECORD_HEADER_BYTES 24
/* The CRC-32 of bytes, for which the tables have been filled once. */
uint32_t crc_of(const char *data, Py_ssize_t length);
void fill_crc_tables(void);

/* The tables of the CRC-64 are filled once. */
void fill_crc64_tables(void);

/* Decompress LZF into memory that is to be filled exactly. NULL, or what is wrong with the data. */
const char *decompress_into(const unsigned char *p, const unsigned char *end, unsigned char *to, unsigned char *limit);
/* False if no LZF of this length stands for so many bytes. */
int can_be_so_long(Py_ssize_t compressed_bytes, uint64_t bytes);

/* Python's function hash, whose result is known without a call. */
extern PyObject *builtin_hash;

/* Eight bytes are looked at as one word. */
#define WORD_BYTES 8
#define EACH_BYTE (~(uint64_t)0 / 255)
#define HIGH_BITS (EACH_BYTE * 0x80)

/* Some bit is set if a byte of the word is zero. */
static inline uint64_t has_zero(uint64_t word) { return (word - EACH_BYTE) & ~word & HIGH_BITS; }

/* Some bit is set if a byte of the word is one that does not stand for itself in a string of JSON. */
static inline uint64_t has_escaped(uint64_t word)
{
    return ((word - EACH_BYTE * ' ') & ~word & HIGH_BITS) | has_zero(word ^ EACH_BYTE * '"') |
           has_zero(word ^ EACH_BYTE * '\\');
}

static inline uint64_t little_endian(const unsigned char *p, int size)
{
    uint64_t number = 0;
    while (size--)
        number = number << 8 | p[size];
    return number;
}

static inline long long signed_of(const unsigned char *p, int size)
{
    uint64_t number = little_endian(p, size), sign = (uint64_t)1 << (8 * size - 1);
    return (long long)((number ^ sign) - sign);
}

/* A line of a mark, a number and a line end takes so many bytes at most. */
#define MOST_LINE_BYTES 24

/* Write a line of a mark and a number that is not negative; return the place behind it. */
static inline char *put_line(char *to, char mark, long long number)
{
    char digits[MOST_LINE_BYTES];
    int count = 0;
    *to++ = mark;
    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count)
        *to++ = digits[--count];
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

/* Write the decimal of an integer, without an end; return how many bytes it has. */
static inline int put_decimal(char *to, long long number)
{
    char digits[MOST_LINE_BYTES], *start = to;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    int count = 0;
    if (number < 0)
        *to++ = '-';
    do
        digits[count++] = (char)('0' + left % 10);
    while (left /= 10);
    while (count)
        *to++ = digits[--count];
    return (int)(to - start);
}

/* The argument of a request that is a list, or NULL with TypeError. It is a borrowed reference. */
static inline PyObject *argument_of(PyObject *request, Py_ssize_t number)
{
    if (PyList_Check(request) && number < PyList_GET_SIZE(request)) {
        PyObject *argument = PyList_GET_ITEM(request, number);
        if (PyBytes_Check(argument))
            return argument;
    }
    PyErr_SetString(PyExc_TypeError, "a request is a list of bytes, long enough");
    return NULL;
}

#endif
