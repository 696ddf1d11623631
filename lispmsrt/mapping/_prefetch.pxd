"""Ask the memory for what will be looked at soon."""

cdef extern from *:
    """
    static inline void prefetch(const void *at) {
        __builtin_prefetch(at);
        /* What does nothing else is taken for a function without effect, and left out. */
        __asm__ volatile("");
    }
    """
    void prefetch(const void *) noexcept nogil
