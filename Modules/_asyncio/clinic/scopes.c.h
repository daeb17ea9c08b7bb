/*[clinic input]
preserve
[clinic start generated code]*/

#if defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_MODULE)
#  include "pycore_gc.h"          // PyGC_Head
#  include "pycore_runtime.h"     // _Py_ID()
#endif
#include "pycore_modsupport.h"    // _PyArg_UnpackKeywords()

PyDoc_STRVAR(_asyncio_CancelScope___init____doc__,
"CancelScope(*, timeout=None, deadline=None, shield=False)\n"
"--\n"
"\n"
"A block of code in one task that can be cancelled as a whole.\n"
"\n"
"Once it is cancelled, by cancel() or because its deadline has passed,\n"
"every wait in the block is cancelled, until the block is left; the\n"
"CancelledError ends there.  *timeout* is in seconds from the entry,\n"
"*deadline* on the clock of loop.time(); None is no deadline.  With\n"
"*shield*, the block is protected from cancellation that comes from\n"
"outside of it.\n"
"\n"
"ValueError is raised if both are given or one is NaN, TypeError if one is\n"
"no number.  A scope serves one ``with`` or ``async with`` statement.");

static int
_asyncio_CancelScope___init___impl(ScopeObject *self, PyObject *timeout,
                                   PyObject *deadline, int shield);

static int
_asyncio_CancelScope___init__(PyObject *self, PyObject *args, PyObject *kwargs)
{
    int return_value = -1;
    #if defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_MODULE)

    #define NUM_KEYWORDS 3
    static struct {
        PyGC_Head _this_is_not_used;
        PyObject_VAR_HEAD
        PyObject *ob_item[NUM_KEYWORDS];
    } _kwtuple = {
        .ob_base = PyVarObject_HEAD_INIT(&PyTuple_Type, NUM_KEYWORDS)
        .ob_item = { &_Py_ID(timeout), &_Py_ID(deadline), &_Py_ID(shield), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"timeout", "deadline", "shield", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "CancelScope",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[3];
    PyObject * const *fastargs;
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    Py_ssize_t noptargs = nargs + (kwargs ? PyDict_GET_SIZE(kwargs) : 0) - 0;
    PyObject *timeout = Py_None;
    PyObject *deadline = Py_None;
    int shield = 0;

    fastargs = _PyArg_UnpackKeywords(_PyTuple_CAST(args)->ob_item, nargs, kwargs, NULL, &_parser, 0, 0, 0, argsbuf);
    if (!fastargs) {
        goto exit;
    }
    if (!noptargs) {
        goto skip_optional_kwonly;
    }
    if (fastargs[0]) {
        timeout = fastargs[0];
        if (!--noptargs) {
            goto skip_optional_kwonly;
        }
    }
    if (fastargs[1]) {
        deadline = fastargs[1];
        if (!--noptargs) {
            goto skip_optional_kwonly;
        }
    }
    shield = PyObject_IsTrue(fastargs[2]);
    if (shield < 0) {
        goto exit;
    }
skip_optional_kwonly:
    return_value = _asyncio_CancelScope___init___impl((ScopeObject *)self, timeout, deadline, shield);

exit:
    return return_value;
}

PyDoc_STRVAR(_asyncio_CancelScope_cancel__doc__,
"cancel($self, /, msg=None)\n"
"--\n"
"\n"
"Cancel the block, whose waits raise CancelledError from now on.\n"
"\n"
"*msg* is the text of the CancelledErrors.  A second call does nothing.\n"
"RuntimeError is raised in another thread than the block\'s:\n"
"loop.call_soon_threadsafe() is the way from there.");

#define _ASYNCIO_CANCELSCOPE_CANCEL_METHODDEF    \
    {"cancel", _PyCFunction_CAST(_asyncio_CancelScope_cancel), METH_FASTCALL|METH_KEYWORDS, _asyncio_CancelScope_cancel__doc__},

static PyObject *
_asyncio_CancelScope_cancel_impl(ScopeObject *self, PyObject *msg);

static PyObject *
_asyncio_CancelScope_cancel(ScopeObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *return_value = NULL;
    #if defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_MODULE)

    #define NUM_KEYWORDS 1
    static struct {
        PyGC_Head _this_is_not_used;
        PyObject_VAR_HEAD
        PyObject *ob_item[NUM_KEYWORDS];
    } _kwtuple = {
        .ob_base = PyVarObject_HEAD_INIT(&PyTuple_Type, NUM_KEYWORDS)
        .ob_item = { &_Py_ID(msg), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"msg", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "cancel",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[1];
    Py_ssize_t noptargs = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0) - 0;
    PyObject *msg = Py_None;

    args = _PyArg_UnpackKeywords(args, nargs, NULL, kwnames, &_parser, 0, 1, 0, argsbuf);
    if (!args) {
        goto exit;
    }
    if (!noptargs) {
        goto skip_optional_pos;
    }
    msg = args[0];
skip_optional_pos:
    return_value = _asyncio_CancelScope_cancel_impl(self, msg);

exit:
    return return_value;
}

PyDoc_STRVAR(_asyncio_move_on_after__doc__,
"move_on_after($module, /, delay, *, shield=False)\n"
"--\n"
"\n"
"Return a CancelScope that ends *delay* seconds after its entry.");

#define _ASYNCIO_MOVE_ON_AFTER_METHODDEF    \
    {"move_on_after", _PyCFunction_CAST(_asyncio_move_on_after), METH_FASTCALL|METH_KEYWORDS, _asyncio_move_on_after__doc__},

static PyObject *
_asyncio_move_on_after_impl(PyObject *module, PyObject *delay, int shield);

static PyObject *
_asyncio_move_on_after(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *return_value = NULL;
    #if defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_MODULE)

    #define NUM_KEYWORDS 2
    static struct {
        PyGC_Head _this_is_not_used;
        PyObject_VAR_HEAD
        PyObject *ob_item[NUM_KEYWORDS];
    } _kwtuple = {
        .ob_base = PyVarObject_HEAD_INIT(&PyTuple_Type, NUM_KEYWORDS)
        .ob_item = { &_Py_ID(delay), &_Py_ID(shield), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"delay", "shield", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "move_on_after",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[2];
    Py_ssize_t noptargs = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0) - 1;
    PyObject *delay;
    int shield = 0;

    args = _PyArg_UnpackKeywords(args, nargs, NULL, kwnames, &_parser, 1, 1, 0, argsbuf);
    if (!args) {
        goto exit;
    }
    delay = args[0];
    if (!noptargs) {
        goto skip_optional_kwonly;
    }
    shield = PyObject_IsTrue(args[1]);
    if (shield < 0) {
        goto exit;
    }
skip_optional_kwonly:
    return_value = _asyncio_move_on_after_impl(module, delay, shield);

exit:
    return return_value;
}

PyDoc_STRVAR(_asyncio_move_on_at__doc__,
"move_on_at($module, /, when, *, shield=False)\n"
"--\n"
"\n"
"Return a CancelScope that ends at *when* on loop.time().");

#define _ASYNCIO_MOVE_ON_AT_METHODDEF    \
    {"move_on_at", _PyCFunction_CAST(_asyncio_move_on_at), METH_FASTCALL|METH_KEYWORDS, _asyncio_move_on_at__doc__},

static PyObject *
_asyncio_move_on_at_impl(PyObject *module, PyObject *when, int shield);

static PyObject *
_asyncio_move_on_at(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *return_value = NULL;
    #if defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_MODULE)

    #define NUM_KEYWORDS 2
    static struct {
        PyGC_Head _this_is_not_used;
        PyObject_VAR_HEAD
        PyObject *ob_item[NUM_KEYWORDS];
    } _kwtuple = {
        .ob_base = PyVarObject_HEAD_INIT(&PyTuple_Type, NUM_KEYWORDS)
        .ob_item = { &_Py_ID(when), &_Py_ID(shield), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"when", "shield", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "move_on_at",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[2];
    Py_ssize_t noptargs = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0) - 1;
    PyObject *when;
    int shield = 0;

    args = _PyArg_UnpackKeywords(args, nargs, NULL, kwnames, &_parser, 1, 1, 0, argsbuf);
    if (!args) {
        goto exit;
    }
    when = args[0];
    if (!noptargs) {
        goto skip_optional_kwonly;
    }
    shield = PyObject_IsTrue(args[1]);
    if (shield < 0) {
        goto exit;
    }
skip_optional_kwonly:
    return_value = _asyncio_move_on_at_impl(module, when, shield);

exit:
    return return_value;
}

PyDoc_STRVAR(_asyncio_fail_after__doc__,
"fail_after($module, /, delay, *, shield=False)\n"
"--\n"
"\n"
"Return a CancelScope that raises TimeoutError after *delay* seconds.\n"
"\n"
"TimeoutError is raised on leaving the block, if the deadline has ended it\n"
"and no other exception is left to raise.");

#define _ASYNCIO_FAIL_AFTER_METHODDEF    \
    {"fail_after", _PyCFunction_CAST(_asyncio_fail_after), METH_FASTCALL|METH_KEYWORDS, _asyncio_fail_after__doc__},

static PyObject *
_asyncio_fail_after_impl(PyObject *module, PyObject *delay, int shield);

static PyObject *
_asyncio_fail_after(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *return_value = NULL;
    #if defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_MODULE)

    #define NUM_KEYWORDS 2
    static struct {
        PyGC_Head _this_is_not_used;
        PyObject_VAR_HEAD
        PyObject *ob_item[NUM_KEYWORDS];
    } _kwtuple = {
        .ob_base = PyVarObject_HEAD_INIT(&PyTuple_Type, NUM_KEYWORDS)
        .ob_item = { &_Py_ID(delay), &_Py_ID(shield), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"delay", "shield", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "fail_after",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[2];
    Py_ssize_t noptargs = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0) - 1;
    PyObject *delay;
    int shield = 0;

    args = _PyArg_UnpackKeywords(args, nargs, NULL, kwnames, &_parser, 1, 1, 0, argsbuf);
    if (!args) {
        goto exit;
    }
    delay = args[0];
    if (!noptargs) {
        goto skip_optional_kwonly;
    }
    shield = PyObject_IsTrue(args[1]);
    if (shield < 0) {
        goto exit;
    }
skip_optional_kwonly:
    return_value = _asyncio_fail_after_impl(module, delay, shield);

exit:
    return return_value;
}

PyDoc_STRVAR(_asyncio_fail_at__doc__,
"fail_at($module, /, when, *, shield=False)\n"
"--\n"
"\n"
"Return a CancelScope that raises TimeoutError at *when*.\n"
"\n"
"Like fail_after(), at an absolute time on loop.time().");

#define _ASYNCIO_FAIL_AT_METHODDEF    \
    {"fail_at", _PyCFunction_CAST(_asyncio_fail_at), METH_FASTCALL|METH_KEYWORDS, _asyncio_fail_at__doc__},

static PyObject *
_asyncio_fail_at_impl(PyObject *module, PyObject *when, int shield);

static PyObject *
_asyncio_fail_at(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *return_value = NULL;
    #if defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_MODULE)

    #define NUM_KEYWORDS 2
    static struct {
        PyGC_Head _this_is_not_used;
        PyObject_VAR_HEAD
        PyObject *ob_item[NUM_KEYWORDS];
    } _kwtuple = {
        .ob_base = PyVarObject_HEAD_INIT(&PyTuple_Type, NUM_KEYWORDS)
        .ob_item = { &_Py_ID(when), &_Py_ID(shield), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"when", "shield", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "fail_at",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[2];
    Py_ssize_t noptargs = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0) - 1;
    PyObject *when;
    int shield = 0;

    args = _PyArg_UnpackKeywords(args, nargs, NULL, kwnames, &_parser, 1, 1, 0, argsbuf);
    if (!args) {
        goto exit;
    }
    when = args[0];
    if (!noptargs) {
        goto skip_optional_kwonly;
    }
    shield = PyObject_IsTrue(args[1]);
    if (shield < 0) {
        goto exit;
    }
skip_optional_kwonly:
    return_value = _asyncio_fail_at_impl(module, when, shield);

exit:
    return return_value;
}
/*[clinic end generated code: output=111eedd3163fd42c input=a9049054013a1b77]*/
