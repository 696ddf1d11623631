from lispmsrt.mapping._eid_index cimport Prefixes


cdef class EidEntries(Prefixes):
    pass
