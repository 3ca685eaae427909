/* The CRC-64 of Redis, eight bytes at a time. */

#include "leaves.h"

#define STRIDE 8
/* The polynomial of Jones, its bits in reverse. */
#define POLYNOMIAL 0x95AC9329AC4BC9B5u

static uint64_t tables[STRIDE][256];

void fill_crc64_tables(void)
{
    int byte, i;
    for (byte = 0; byte < 256; byte++) {
        uint64_t value = (uint64_t)byte;
        for (i = 0; i < 8; i++)
            value = value & 1 ? value >> 1 ^ POLYNOMIAL : value >> 1;
        tables[0][byte] = value;
    }
    for (byte = 0; byte < 256; byte++)
        for (i = 1; i < STRIDE; i++)
            tables[i][byte] = tables[i - 1][byte] >> 8 ^ tables[0][tables[i - 1][byte] & 255];
}

/* crc64(data, crc=0) */
LEAF(crc64)
{
    Py_buffer data;
    uint64_t crc = 0;
    const unsigned char *p, *end;
    (void)module;
    if (nargs != 1 && nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "crc64 takes data, and the CRC of what is before it");
        return NULL;
    }
    if (nargs == 2) {
        crc = PyLong_AsUnsignedLongLong(args[1]);
        if (crc == (uint64_t)-1 && PyErr_Occurred())
            return NULL;
    }
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    p = data.buf;
    end = p + data.len;
    for (; end - p >= STRIDE; p += STRIDE) {
        int i;
        uint64_t word = 0;
        /* The first byte is the lowest, on every machine. */
        for (i = STRIDE - 1; i >= 0; i--)
            word = word << 8 | p[i];
        word ^= crc;
        crc = 0;
        for (i = 0; i < STRIDE; i++)
            crc ^= tables[STRIDE - 1 - i][word >> 8 * i & 255];
    }
    while (p < end)
        crc = tables[0][(crc ^ *p++) & 255] ^ crc >> 8;
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLongLong(crc);
}
