"""HMAC (RFC 2104) with the key absorbed once, by OpenSSL's own SHA functions.

For messages of a hundred octets, what Python's hashlib does around each hash costs several times
the hash. The functions are found in the libcrypto of this machine when the module is imported: it
needs no headers to be built, and where they are not found the import fails and hashlib does it.
"""

import hashlib
import hmac

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

cdef extern from "<dlfcn.h>" nogil:
    void *dlopen(const char *, int)
    void *dlsym(void *, const char *)
    int RTLD_LAZY

cdef enum:
    BLOCK = 64

cdef Hash sha1
cdef Hash sha256


cdef void *_library() except NULL:
    cdef void *found
    for name in (b"libcrypto.so.3", b"libcrypto.so.4", b"libcrypto.so.1.1"):
        found = dlopen(name, RTLD_LAZY)
        if found != NULL:
            return found
    raise ImportError("there is no libcrypto here")


cdef int _find(Hash *which, void *library, const char *init, const char *update, const char *final) except -1:
    # SHA_CTX has 96 octets and SHA256_CTX 112, in every OpenSSL since 0.9.8.
    which.init = <int (*)(void *) noexcept nogil>dlsym(library, init)
    which.update = <int (*)(void *, const void *, size_t) noexcept nogil>dlsym(library, update)
    which.final = <int (*)(unsigned char *, void *) noexcept nogil>dlsym(library, final)
    if which.init == NULL or which.update == NULL or which.final == NULL:
        raise ImportError("libcrypto has no SHA functions of its own")
    return 0


cdef bint equal(const unsigned char *one, const unsigned char *other, size_t size) noexcept nogil:
    """Compare in a time that depends on the size alone."""
    cdef size_t at
    cdef unsigned char difference = 0
    for at in range(size):
        difference |= one[at] ^ other[at]
    return difference == 0


cdef class KeyedHash:
    """One key, absorbed into both halves of HMAC with SHA-1 or SHA-256."""

    def __init__(self, str name, bytes secret):
        cdef unsigned char padded[BLOCK]
        cdef int at
        if name == "sha256":
            self.hash, self.digest_size = sha256, 32
        elif name == "sha1":
            self.hash, self.digest_size = sha1, 20
        else:
            raise ValueError(f"no keyed hash {name!r}")
        short = secret if len(secret) <= BLOCK else hashlib.new(name, secret).digest()
        block = short.ljust(BLOCK, b"\0")
        memcpy(padded, PyBytes_AS_STRING(block), BLOCK)
        for at in range(BLOCK):
            padded[at] ^= 0x36
        self.hash.init(self.inner)
        self.hash.update(self.inner, padded, BLOCK)
        for at in range(BLOCK):
            padded[at] ^= 0x36 ^ 0x5C
        self.hash.init(self.outer)
        self.hash.update(self.outer, padded, BLOCK)

    cdef int mac(
        self,
        const unsigned char *a,
        size_t a_size,
        const unsigned char *b,
        size_t b_size,
        const unsigned char *c,
        size_t c_size,
        unsigned char *out,
    ) noexcept nogil:
        cdef unsigned char state[128]
        cdef unsigned char digest[32]
        memcpy(state, self.inner, 128)
        if a_size:
            self.hash.update(state, a, a_size)
        if b_size:
            self.hash.update(state, b, b_size)
        if c_size:
            self.hash.update(state, c, c_size)
        self.hash.final(digest, state)
        memcpy(state, self.outer, 128)
        self.hash.update(state, digest, self.digest_size)
        self.hash.final(out, state)
        return self.digest_size

    def digest(self, bytes covered):
        """Return the whole HMAC of ``covered``."""
        cdef bytes found = PyBytes_FromStringAndSize(NULL, self.digest_size)
        self.mac(
            <const unsigned char *>PyBytes_AS_STRING(covered),
            PyBytes_GET_SIZE(covered),
            NULL,
            0,
            NULL,
            0,
            <unsigned char *>PyBytes_AS_STRING(found),
        )
        return found


cdef _load():
    cdef void *library = _library()
    _find(&sha1, library, b"SHA1_Init", b"SHA1_Update", b"SHA1_Final")
    _find(&sha256, library, b"SHA256_Init", b"SHA256_Update", b"SHA256_Final")
    # Were a structure larger than it is known to be, this would show it before a peer does.
    for name in ("sha1", "sha256"):
        for secret in (b"key", bytes(range(100))):
            covered = bytes(range(256))
            if KeyedHash(name, secret).digest(covered) != hmac.digest(secret, covered, name):
                raise ImportError(f"libcrypto computes another {name}")


_load()
