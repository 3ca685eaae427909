/* Listpacks, read entry by entry. */

#ifndef KVSERVER_LISTPACKS_H
#define KVSERVER_LISTPACKS_H

#include "leaves.h"

#define HEAD_BYTES 6
#define OVERHEAD_BYTES 7
#define END 0xFF
#define UNCOUNTED 0xFFFF
#define SMALL_END 0x80

/* An entry: where its string is, or the integer that it is, and the bytes of encoding and data. */
typedef struct {
    const unsigned char *string;
    uint64_t length;
    long long number;
    uint64_t bytes;
} Entry;

/* Read an entry but for the copy of its length. `left` are the bytes before the listpack's end. NULL, or what is wrong. */
static inline const char *entry_at(const unsigned char *p, uint64_t left, Entry *entry)
{
    static const int integer_bytes[] = {2, 3, 4, 8};
    int head = 1, size = 0;
    entry->string = NULL;
    entry->length = 0;
    if (p[0] < SMALL_END) {
        entry->number = p[0];
    } else if (p[0] < 0xC0) {
        entry->length = p[0] & 63;
        entry->string = p + 1;
    } else if (p[0] < 0xF0) {
        head = 2;
        if (left < 2)
            return "the data ends inside an entry";
        entry->length = (uint64_t)(p[0] & 15) << 8 | p[1];
        entry->string = p + 2;
        if (p[0] < 0xE0) {
            entry->number = (p[0] & 31) << 8 | p[1];
            if (entry->number >= 1 << 12)
                entry->number -= 1 << 13;
            entry->length = 0;
            entry->string = NULL;
        }
    } else if (p[0] == 0xF0) {
        head = 5;
        if (left < 5)
            return "the data ends inside an entry";
        entry->length = little_endian(p + 1, 4);
        entry->string = p + 5;
    } else if (p[0] <= 0xF4) {
        size = integer_bytes[p[0] - 0xF1];
        if (left < 1 + (uint64_t)size)
            return "the data ends inside an entry";
        entry->number = signed_of(p + 1, size);
    } else {
        return "an entry has an unknown encoding";
    }
    entry->bytes = (uint64_t)head + (uint64_t)size + entry->length;
    return entry->bytes <= left ? NULL : "the data ends inside an entry";
}

/* Write the copy of a length, for reading backwards. Return how many bytes it has. */
static inline int copy_of(uint64_t length, unsigned char *copy)
{
    int size = length < 128 ? 1 : length < 16383 ? 2 : length < 2097151 ? 3 : length < 268435455 ? 4 : 5, i;
    for (i = 0; i < size; i++)
        copy[i] = (unsigned char)((length >> 7 * (size - 1 - i) & 127) | (i ? 128 : 0));
    return size;
}

/* Read an entry and the copy of its length, and go behind them. NULL, or what is wrong. */
static inline const char *next_entry(const unsigned char **at, const unsigned char *end, Entry *entry)
{
    unsigned char copy[5];
    const unsigned char *p = *at;
    const char *problem = entry_at(p, (uint64_t)(end - p), entry);
    int size;
    if (problem)
        return problem;
    p += entry->bytes;
    /* Most copies are one byte. */
    if (entry->bytes < SMALL_END && p < end && *p == entry->bytes) {
        *at = p + 1;
        return NULL;
    }
    size = copy_of(entry->bytes, copy);
    if (end - p < size)
        return "the last entry reaches into the end";
    if (memcmp(p, copy, (size_t)size))
        return "the copy of an entry's length is another one";
    *at = p + size;
    return NULL;
}

static inline PyObject *entry_string(const Entry *entry)
{
    char digits[MOST_LINE_BYTES];
    if (entry->string)
        return PyBytes_FromStringAndSize((const char *)entry->string, (Py_ssize_t)entry->length);
    return PyBytes_FromStringAndSize(digits, put_decimal(digits, entry->number));
}

/* The longest decimal of 64 bits. */
#define MOST_DECIMAL 20

/* True if the string is the decimal of an integer of 64 bits, as Redis writes it. */
static inline int is_integer(const unsigned char *string, Py_ssize_t length, long long *number)
{
    int is_negative = length && string[0] == '-';
    uint64_t most = (uint64_t)1 << 63, found = 0;
    Py_ssize_t i = is_negative;
    if (length - i < 1 || length > MOST_DECIMAL || (string[i] == '0' && length > 1))
        return 0;
    for (; i < length; i++) {
        unsigned digit = (unsigned)string[i] - '0';
        if (digit > 9 || found > (most - digit) / 10)
            return 0;
        found = found * 10 + digit;
    }
    if (!is_negative && found == most)
        return 0;
    *number = is_negative ? (long long)(0 - found) : (long long)found;
    return 1;
}

/* True for a listpack that has the length it says, and an end. */
static inline int is_listpack(const unsigned char *data, Py_ssize_t length)
{
    return length >= OVERHEAD_BYTES && little_endian(data, 4) == (uint64_t)length && data[length - 1] == END;
}

/* True if a listpack with so many entries may say what it does of their number. */
static inline int has_count(const unsigned char *data, Py_ssize_t entries)
{
    Py_ssize_t count = (Py_ssize_t)little_endian(data + 4, 2);
    return count == UNCOUNTED || count == entries;
}

#endif
