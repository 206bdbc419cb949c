"""What a gateway must withstand, as RFC 9110 and RFC 9112 have it: raw bytes in, exact bytes out.

Row ids begin with the number of the case (`c04`) and name the clause.
"""
