/*[clinic input]
preserve
[clinic start generated code]*/

#if defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_MODULE)
#  include "pycore_gc.h"          // PyGC_Head
#  include "pycore_runtime.h"     // _Py_ID()
#endif
#include "pycore_modsupport.h"    // _PyArg_UnpackKeywords()

PyDoc_STRVAR(_asyncio__TaskOwnerBase___init____doc__,
"_TaskOwnerBase(*, name=None)\n"
"--\n"
"\n"
"What C does for a block that owns tasks.");

static int
_asyncio__TaskOwnerBase___init___impl(OwnerObject *self, PyObject *name);

static int
_asyncio__TaskOwnerBase___init__(PyObject *self, PyObject *args, PyObject *kwargs)
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
        .ob_item = { &_Py_ID(name), },
    };
    #undef NUM_KEYWORDS
    #define KWTUPLE (&_kwtuple.ob_base.ob_base)

    #else  // !Py_BUILD_CORE
    #  define KWTUPLE NULL
    #endif  // !Py_BUILD_CORE

    static const char * const _keywords[] = {"name", NULL};
    static _PyArg_Parser _parser = {
        .keywords = _keywords,
        .fname = "_TaskOwnerBase",
        .kwtuple = KWTUPLE,
    };
    #undef KWTUPLE
    PyObject *argsbuf[1];
    PyObject * const *fastargs;
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    Py_ssize_t noptargs = nargs + (kwargs ? PyDict_GET_SIZE(kwargs) : 0) - 0;
    PyObject *name = Py_None;

    fastargs = _PyArg_UnpackKeywords(_PyTuple_CAST(args)->ob_item, nargs, kwargs, NULL, &_parser, 0, 0, 0, argsbuf);
    if (!fastargs) {
        goto exit;
    }
    if (!noptargs) {
        goto skip_optional_kwonly;
    }
    name = fastargs[0];
skip_optional_kwonly:
    return_value = _asyncio__TaskOwnerBase___init___impl((OwnerObject *)self, name);

exit:
    return return_value;
}

PyDoc_STRVAR(_asyncio__TaskOwnerBase__take__doc__,
"_take($self, task, /)\n"
"--\n"
"\n"
"Note a new task, and hear of its end; return our state then.");

#define _ASYNCIO__TASKOWNERBASE__TAKE_METHODDEF    \
    {"_take", (PyCFunction)_asyncio__TaskOwnerBase__take, METH_O, _asyncio__TaskOwnerBase__take__doc__},

PyDoc_STRVAR(_asyncio__TaskOwnerBase__note_return__doc__,
"_note_return($self, task, /)\n"
"--\n"
"\n"
"A task has ended; return true if nothing is to be called for it.\n"
"\n"
"Of tasks that return in one pass, only the first has its callback scheduled.");

#define _ASYNCIO__TASKOWNERBASE__NOTE_RETURN_METHODDEF    \
    {"_note_return", (PyCFunction)_asyncio__TaskOwnerBase__note_return, METH_O, _asyncio__TaskOwnerBase__note_return__doc__},

PyDoc_STRVAR(_asyncio__TaskOwnerBase__on_task_done__doc__,
"_on_task_done($self, task, /)\n"
"--\n"
"\n");

#define _ASYNCIO__TASKOWNERBASE__ON_TASK_DONE_METHODDEF    \
    {"_on_task_done", (PyCFunction)_asyncio__TaskOwnerBase__on_task_done, METH_O, _asyncio__TaskOwnerBase__on_task_done__doc__},
/*[clinic end generated code: output=a0ddd921de3e2884 input=a9049054013a1b77]*/
