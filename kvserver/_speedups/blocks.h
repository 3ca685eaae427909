/* Listpacks, ziplists, zipmaps and intsets: the strings of a small collection in one block, read one by one. */

#ifndef KVSERVER_BLOCKS_H
#define KVSERVER_BLOCKS_H

#include "listpacks.h"

enum Form { LISTPACK = 'L', ZIPLIST = 'Z', ZIPMAP = 'M', INTSET = 'I' };

/* A string of a block: it stands there, or is the decimal of an integer. */
typedef struct {
    const unsigned char *start;
    uint64_t length;
    int is_number;
    long long number;
} Word;

/* A block that is read. `passed` are the words so far; `last` begins the last entry, which has so many bytes; `size` is the
   size of an integer of an intset. */
typedef struct {
    enum Form form;
    const unsigned char *data, *at, *end, *last;
    uint64_t passed, entry_bytes;
    int size;
} Block;

static inline void make_number(Word *word, long long number)
{
    word->is_number = 1;
    word->number = number;
}

static inline void make_string(Word *word, const unsigned char *start, uint64_t length)
{
    word->is_number = 0;
    word->start = start;
    word->length = length;
}

#define ZIPLIST_HEAD_BYTES 10
#define INTSET_HEAD_BYTES 8
#define LONG_PREVIOUS 0xFE
#define LONG_LENGTH 254

/* Begin to read a block. Return -1 if this is none. */
static inline int open_block(Block *block, enum Form form, const unsigned char *data, Py_ssize_t length)
{
    *block = (Block){form, data, data, data + length, data, 0, 0, 0};
    switch (form) {
    case LISTPACK:
        block->at = data + HEAD_BYTES;
        block->end--;
        return is_listpack(data, length) ? 0 : -1;
    case ZIPLIST:
        block->at = block->last = data + ZIPLIST_HEAD_BYTES;
        block->end--;
        return length > ZIPLIST_HEAD_BYTES && little_endian(data, 4) == (uint64_t)length && data[length - 1] == END ? 0 : -1;
    case ZIPMAP:
        block->at = data + 1;
        block->end--;
        return length >= 2 && data[length - 1] == END ? 0 : -1;
    default:
        if (length < INTSET_HEAD_BYTES)
            return -1;
        block->at = data + INTSET_HEAD_BYTES;
        block->size = (int)(little_endian(data, 4) & 15);
        if (block->size != 2 && block->size != 4 && block->size != 8)
            return -1;
        return little_endian(data, 4) == (uint64_t)block->size &&
                       (uint64_t)(length - INTSET_HEAD_BYTES) == little_endian(data + 4, 4) * (uint64_t)block->size
                   ? 0
                   : -1;
    }
}

/* Read an encoding of a ziplist and its data. NULL if they make no sense, or are not whole. */
static inline const unsigned char *ziplist_word(const unsigned char *p, const unsigned char *end, Word *word)
{
    int head, size;
    uint64_t length;
    if (p >= end)
        return NULL;
    if (p[0] < 0xC0) {
        head = p[0] < 0x40 ? 1 : p[0] < 0x80 ? 2 : 5;
        if (end - p < head)
            return NULL;
        length = head == 1   ? p[0]
                 : head == 2 ? (uint64_t)(p[0] & 63) << 8 | p[1]
                             : (uint64_t)p[1] << 24 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 8 | p[4];
        p += head;
        if ((uint64_t)(end - p) < length)
            return NULL;
        make_string(word, p, length);
        return p + length;
    }
    if (p[0] >= 0xF1 && p[0] < 0xFE) {
        make_number(word, p[0] - 0xF1);
        return p + 1;
    }
    size = p[0] == 0xC0 ? 2 : p[0] == 0xD0 ? 4 : p[0] == 0xE0 ? 8 : p[0] == 0xF0 ? 3 : p[0] == 0xFE ? 1 : 0;
    if (!size || end - p <= size)
        return NULL;
    make_number(word, signed_of(p + 1, size));
    return p + 1 + size;
}

static inline const unsigned char *ziplist_entry(Block *block, Word *word)
{
    const unsigned char *p = block->at;
    uint64_t previous = *p++;
    if (previous == LONG_PREVIOUS) {
        if (block->end - p < 4)
            return NULL;
        previous = little_endian(p, 4);
        p += 4;
    }
    if (previous != block->entry_bytes)
        return NULL;
    p = ziplist_word(p, block->end, word);
    if (p)
        block->entry_bytes = (uint64_t)(p - block->at);
    block->last = block->at;
    return p;
}

/* A field of a zipmap, or a value and what is unused behind it. */
static inline const unsigned char *zipmap_word(Block *block, Word *word)
{
    const unsigned char *p = block->at;
    int is_value = block->passed & 1;
    uint64_t length = *p++, unused = 0;
    if (length == LONG_LENGTH) {
        if (block->end - p < 4)
            return NULL;
        length = little_endian(p, 4);
        p += 4;
    } else if (length > LONG_LENGTH) {
        return NULL;
    }
    if (is_value) {
        if (p >= block->end)
            return NULL;
        unused = *p++;
    }
    if ((uint64_t)(block->end - p) < length + unused)
        return NULL;
    make_string(word, p, length);
    return p + length + unused;
}

static inline const unsigned char *intset_number(Block *block, Word *word)
{
    long long number = signed_of(block->at, block->size);
    if (block->passed && number <= word->number)
        return NULL;
    make_number(word, number);
    return block->at + block->size;
}

/* True if a block that was read to its end says that it has so many words. */
static inline int is_whole(const Block *block)
{
    uint64_t count;
    switch (block->form) {
    case LISTPACK:
        return has_count(block->data, (Py_ssize_t)block->passed);
    case ZIPLIST:
        count = little_endian(block->data + 8, 2);
        return little_endian(block->data + 4, 4) == (uint64_t)(block->last - block->data) &&
               (count == block->passed || count == UNCOUNTED);
    case ZIPMAP:
        return !(block->passed & 1) && (block->data[0] == LONG_LENGTH || block->data[0] == block->passed / 2);
    default:
        return 1;
    }
}

/* Read the next word; the one before is in its place still. Return 0 at the end, -1 if the block is none. */
static inline int next_word(Block *block, Word *word)
{
    Entry entry;
    if (block->at >= block->end)
        return is_whole(block) ? 0 : -1;
    switch (block->form) {
    case LISTPACK:
        if (next_entry(&block->at, block->end, &entry))
            return -1;
        if (entry.string)
            make_string(word, entry.string, entry.length);
        else
            make_number(word, entry.number);
        break;
    case ZIPLIST:
        block->at = ziplist_entry(block, word);
        break;
    case ZIPMAP:
        block->at = zipmap_word(block, word);
        break;
    default:
        block->at = intset_number(block, word);
    }
    block->passed++;
    return block->at ? 1 : -1;
}

#endif
