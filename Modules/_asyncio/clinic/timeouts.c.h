/*[clinic input]
preserve
[clinic start generated code]*/

#if defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_MODULE)
#  include "pycore_gc.h"          // PyGC_Head
#  include "pycore_runtime.h"     // _Py_ID()
#endif
#include "pycore_modsupport.h"    // _PyArg_UnpackKeywords()

PyDoc_STRVAR(_asyncio_Timeout___init____doc__,
"Timeout(when)\n"
"--\n"
"\n"
"An asynchronous context manager that limits the time of its block.\n"
"\n"
"It is made by timeout() and timeout_at().");

static int
_asyncio_Timeout___init___impl(TimeoutObject *self, PyObject *when);

static int
_asyncio_Timeout___init__(PyObject *self, PyObject *args, PyObject *kwargs)
{
    int return_value = -1;
    #if defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_MODULE)

    #define NUM_KEYWORDS 1
    static struct {
        PyGC_Head _this_is_not_used;
        PyObject_VAR_HEAD
        PyObject *ob_item[NUM_KEYWORDS];
    } _kwtuple = {
        .ob_base = PyVarObject_HEAD_INIT(&PyTuple_Type, NUM_KEYWORDS)
        .ob_item = { &_Py_ID(when), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"when", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "Timeout",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[1];
    PyObject * const *fastargs;
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    PyObject *when;

    fastargs = _PyArg_UnpackKeywords(_PyTuple_CAST(args)->ob_item, nargs, kwargs, NULL, &_parser, 1, 1, 0, argsbuf);
    if (!fastargs) {
        goto exit;
    }
    when = fastargs[0];
    return_value = _asyncio_Timeout___init___impl((TimeoutObject *)self, when);

exit:
    return return_value;
}

PyDoc_STRVAR(_asyncio_Timeout_when__doc__,
"when($self, /)\n"
"--\n"
"\n"
"Return the deadline on loop.time(), or None.");

#define _ASYNCIO_TIMEOUT_WHEN_METHODDEF    \
    {"when", (PyCFunction)_asyncio_Timeout_when, METH_NOARGS, _asyncio_Timeout_when__doc__},

static PyObject *
_asyncio_Timeout_when_impl(TimeoutObject *self);

static PyObject *
_asyncio_Timeout_when(TimeoutObject *self, PyObject *Py_UNUSED(ignored))
{
    return _asyncio_Timeout_when_impl(self);
}

PyDoc_STRVAR(_asyncio_Timeout_expired__doc__,
"expired($self, /)\n"
"--\n"
"\n"
"Return true if the deadline has passed during the block.");

#define _ASYNCIO_TIMEOUT_EXPIRED_METHODDEF    \
    {"expired", (PyCFunction)_asyncio_Timeout_expired, METH_NOARGS, _asyncio_Timeout_expired__doc__},

static PyObject *
_asyncio_Timeout_expired_impl(TimeoutObject *self);

static PyObject *
_asyncio_Timeout_expired(TimeoutObject *self, PyObject *Py_UNUSED(ignored))
{
    return _asyncio_Timeout_expired_impl(self);
}

PyDoc_STRVAR(_asyncio_Timeout_reschedule__doc__,
"reschedule($self, /, when)\n"
"--\n"
"\n"
"Move the deadline to *when* on loop.time(); None takes it away.\n"
"\n"
"RuntimeError is raised before the block is entered and after the\n"
"deadline or the end of the block.");

#define _ASYNCIO_TIMEOUT_RESCHEDULE_METHODDEF    \
    {"reschedule", _PyCFunction_CAST(_asyncio_Timeout_reschedule), METH_FASTCALL|METH_KEYWORDS, _asyncio_Timeout_reschedule__doc__},

static PyObject *
_asyncio_Timeout_reschedule_impl(TimeoutObject *self, PyObject *when);

static PyObject *
_asyncio_Timeout_reschedule(TimeoutObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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
        .ob_item = { &_Py_ID(when), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"when", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "reschedule",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[1];
    PyObject *when;

    args = _PyArg_UnpackKeywords(args, nargs, NULL, kwnames, &_parser, 1, 1, 0, argsbuf);
    if (!args) {
        goto exit;
    }
    when = args[0];
    return_value = _asyncio_Timeout_reschedule_impl(self, when);

exit:
    return return_value;
}

PyDoc_STRVAR(_asyncio_timeout__doc__,
"timeout($module, /, delay)\n"
"--\n"
"\n"
"Return a context manager that limits its block to *delay* seconds.\n"
"\n"
"The seconds count from this call; None is no limit.  A block that takes\n"
"longer is cancelled once, and leaving it raises TimeoutError:\n"
"\n"
"    async with asyncio.timeout(10):\n"
"        await long_running()\n"
"\n"
"A cancellation that someone else asked for, with Task.cancel() or a cancel\n"
"scope, stays a CancelledError.");

#define _ASYNCIO_TIMEOUT_METHODDEF    \
    {"timeout", _PyCFunction_CAST(_asyncio_timeout), METH_FASTCALL|METH_KEYWORDS, _asyncio_timeout__doc__},

static PyObject *
_asyncio_timeout_impl(PyObject *module, PyObject *delay);

static PyObject *
_asyncio_timeout(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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
        .ob_item = { &_Py_ID(delay), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"delay", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "timeout",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[1];
    PyObject *delay;

    args = _PyArg_UnpackKeywords(args, nargs, NULL, kwnames, &_parser, 1, 1, 0, argsbuf);
    if (!args) {
        goto exit;
    }
    delay = args[0];
    return_value = _asyncio_timeout_impl(module, delay);

exit:
    return return_value;
}

PyDoc_STRVAR(_asyncio_timeout_at__doc__,
"timeout_at($module, /, when)\n"
"--\n"
"\n"
"Return a context manager whose block ends at *when* on loop.time().\n"
"\n"
"Like timeout(), but with an absolute time.");

#define _ASYNCIO_TIMEOUT_AT_METHODDEF    \
    {"timeout_at", _PyCFunction_CAST(_asyncio_timeout_at), METH_FASTCALL|METH_KEYWORDS, _asyncio_timeout_at__doc__},

static PyObject *
_asyncio_timeout_at_impl(PyObject *module, PyObject *when);

static PyObject *
_asyncio_timeout_at(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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
        .ob_item = { &_Py_ID(when), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"when", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "timeout_at",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[1];
    PyObject *when;

    args = _PyArg_UnpackKeywords(args, nargs, NULL, kwnames, &_parser, 1, 1, 0, argsbuf);
    if (!args) {
        goto exit;
    }
    when = args[0];
    return_value = _asyncio_timeout_at_impl(module, when);

exit:
    return return_value;
}
/*[clinic end generated code: output=0a024881c3ccf35e input=a9049054013a1b77]*/
