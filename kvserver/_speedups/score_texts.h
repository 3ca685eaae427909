/* The texts of scores, as printf writes them with %.17g. */

#ifndef KVSERVER_SCORE_TEXTS_H
#define KVSERVER_SCORE_TEXTS_H

#include "packed.h"

#define DIGITS 17
/* 10 to the power of DIGITS - 1. */
#define LEAST_DIGITS 10000000000000000u
/* Integers below this are written with all their digits, and numbers from that on without an exponent. */
#define WHOLE 1e17
#define SMALL 1e-4
#define MANTISSA_BITS 52

#ifdef __SIZEOF_INT128__
/* Write a positive number that is no integer, and neither so large nor so small that it has an exponent. Return its length.
   It is multiplied by a power of ten and rounded, which is exact: no product has more than 120 bits. */
static inline int put_fraction(char *to, double number)
{
    char digits[MOST_LINE_BYTES];
    unsigned __int128 product;
    uint64_t bits, mantissa, whole;
    int shift, power = DIGITS, count = DIGITS, before, i, length = 0;
    double limit;
    memcpy(&bits, &number, sizeof bits);
    mantissa = (bits & (((uint64_t)1 << MANTISSA_BITS) - 1)) | (uint64_t)1 << MANTISSA_BITS;
    shift = 1023 + MANTISSA_BITS - (int)(bits >> MANTISSA_BITS);
    for (limit = 1; number >= limit; limit *= 10)
        power--;
    for (product = mantissa, i = 0; i < power; i++)
        product *= 10;
    /* A number below 1 has perhaps more zeros behind the point. */
    while ((uint64_t)(product >> shift) < LEAST_DIGITS) {
        product *= 10;
        power++;
    }
    whole = (uint64_t)(product >> shift);
    /* What is left is compared with a half: of two texts that are as near, the even one is taken. */
    product = (product - ((unsigned __int128)whole << shift)) * 2;
    if (product >> shift)
        whole += product != (unsigned __int128)1 << shift || whole & 1;
    if (whole == LEAST_DIGITS * 10) {
        whole = LEAST_DIGITS;
        power--;
    }
    put_decimal(digits, (long long)whole);
    /* The digits before the point. */
    before = DIGITS - power;
    while (count > before && count > 1 && digits[count - 1] == '0')
        count--;
    if (before <= 0) {
        to[length++] = '0';
        to[length++] = '.';
        for (i = before; i < 0; i++)
            to[length++] = '0';
    }
    for (i = 0; i < count; i++) {
        if (i && i == before)
            to[length++] = '.';
        to[length++] = digits[i];
    }
    return length;
}
#endif

/* Put the text of a score, and a NUL. Return -1 with an exception. */
static inline int put_score(Pieces *pieces, double score)
{
    char *digits;
    double size = score < 0 ? -score : score;
    if (size < WHOLE && size == (double)(long long)size) {
        char text[MOST_LINE_BYTES];
        put(pieces, text, put_decimal(text, (long long)score));
#ifdef __SIZEOF_INT128__
    } else if (size >= SMALL && size < WHOLE) {
        char text[2 * MOST_LINE_BYTES];
        if (score < 0)
            put(pieces, "-", 1);
        put(pieces, text, put_fraction(text, size));
#endif
    } else {
        digits = PyOS_double_to_string(score, 'g', DIGITS, 0, NULL);
        if (!digits)
            return -1;
        put(pieces, digits, (Py_ssize_t)strlen(digits));
        PyMem_Free(digits);
    }
    put(pieces, "", 1);
    return 0;
}

#endif
