cdef struct Hash:
    # Of OpenSSL: SHA_init, SHA_update and SHA_final of one algorithm.
    int (*init)(void *) noexcept nogil
    int (*update)(void *, const void *, size_t) noexcept nogil
    int (*final)(unsigned char *, void *) noexcept nogil


cdef bint equal(const unsigned char *one, const unsigned char *other, size_t size) noexcept nogil


cdef class KeyedHash:
    cdef Hash hash
    cdef readonly int digest_size
    cdef unsigned char inner[128]
    cdef unsigned char outer[128]

    # Writes the whole HMAC of a, b and c, one behind the other, to `out`, and returns its octets.
    # Each may be empty.
    cdef int mac(
        self,
        const unsigned char *a,
        size_t a_size,
        const unsigned char *b,
        size_t b_size,
        const unsigned char *c,
        size_t c_size,
        unsigned char *out,
    ) noexcept nogil
