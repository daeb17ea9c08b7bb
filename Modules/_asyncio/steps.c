/* Step: what a coroutine that never waits is to its await.

   __aenter__() and __aexit__() in C return one: nothing happens before it is
   awaited, and then it ends at once.  These methods are CoroutineMethods, of
   which inspect.iscoroutinefunction() is true: whoever calls them for someone
   else (unittest, mock) asks that of the class.  */

#ifndef Py_BUILD_CORE_BUILTIN
#  define Py_BUILD_CORE_MODULE 1
#endif

#include "Python.h"
#include "pycore_pyerrors.h"      // _PyErr_FormatFromCause()
#include <stddef.h>                // offsetof()
#include "scopes.h"

typedef struct {
    PyObject_HEAD
    step_function run;
    PyObject *owner;    /* strong; NULL once it has run */
    PyObject *exc;      /* strong; NULL for None, and once it has run */
} StepObject;

PyObject *
asyncio_step_new(PyObject *module, step_function run, PyObject *owner,
                 PyObject *exc)
{
    ScopeState *state = asyncio_scope_state(module);
    StepObject *step = (StepObject *)state->spare_step;
    if (step != NULL) {
        state->spare_step = NULL;
        _Py_NewReference((PyObject *)step);
    }
    else {
        step = PyObject_GC_New(StepObject, state->step_type);
        if (step == NULL) {
            return NULL;
        }
    }
    step->run = run;
    step->owner = Py_NewRef(owner);
    step->exc = exc == NULL || Py_IsNone(exc) ? NULL : Py_NewRef(exc);
    PyObject_GC_Track(step);
    return (PyObject *)step;
}

static PySendResult
step_send(PyObject *op, PyObject *Py_UNUSED(arg), PyObject **result)
{
    StepObject *self = (StepObject *)op;
    PyObject *owner = self->owner;
    *result = NULL;
    if (owner == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        return PYGEN_ERROR;
    }
    self->owner = NULL;
    PyObject *exc = self->exc;
    self->exc = NULL;
    *result = self->run(owner, exc);
    Py_XDECREF(exc);
    Py_DECREF(owner);
    if (*result != NULL) {
        return PYGEN_RETURN;
    }
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
        _PyErr_FormatFromCause(PyExc_RuntimeError,
                               "coroutine raised StopIteration");
    }
    return PYGEN_ERROR;
}

/* Raise StopIteration(value) without looking for the arguments in a call.  */
static void
stop_with(PyObject *value)
{
    PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
    PyObject *args = PyTuple_Pack(1, value);
    PyObject *exc = args == NULL ? NULL : type->tp_new(type, args, NULL);
    Py_XDECREF(args);
    if (exc != NULL) {
        Py_XSETREF(((PyStopIterationObject *)exc)->value, Py_NewRef(value));
        PyErr_SetRaisedException(exc);
    }
}

/* As for a generator, the end needs no exception if there is no value.  */
static PyObject *
step_iternext(PyObject *op)
{
    PyObject *result;
    if (step_send(op, Py_None, &result) == PYGEN_RETURN) {
        if (!Py_IsNone(result)) {
            stop_with(result);
        }
        Py_DECREF(result);
    }
    return NULL;
}

static int
step_traverse(PyObject *op, visitproc visit, void *arg)
{
    StepObject *self = (StepObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->owner);
    Py_VISIT(self->exc);
    return 0;
}

static int
step_clear(PyObject *op)
{
    StepObject *self = (StepObject *)op;
    Py_CLEAR(self->owner);
    Py_CLEAR(self->exc);
    return 0;
}

/* Keep a dead step, with its reference to the type, for the next one.  */
static int
keep_spare(PyObject *op)
{
#ifndef Py_GIL_DISABLED
    /* It is NULL when the type has been cleared.  */
    PyObject *module = ((PyHeapTypeObject *)Py_TYPE(op))->ht_module;
    ScopeState *state = module == NULL ? NULL : asyncio_scope_state(module);
    if (state != NULL && state->step_type != NULL
        && state->spare_step == NULL) {
        state->spare_step = op;
        return 1;
    }
#endif
    return 0;
}

static void
delete_step(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static void
step_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    step_clear(op);
    if (!keep_spare(op)) {
        delete_step(op);
    }
}

void
asyncio_steps_clear(ScopeState *state)
{
    PyObject *spare = state->spare_step;
    if (spare != NULL) {
        state->spare_step = NULL;
        delete_step(spare);
    }
}

static PyObject *
step_send_method(PyObject *op, PyObject *arg)
{
    step_iternext(op);
    if (!PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return NULL;
}

/* throw() and close() before the first step: nothing has been done.  */
static PyObject *
step_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    step_clear(op);
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "throw() takes an exception");
    }
    else if (PyExceptionInstance_Check(args[0])) {
        PyErr_SetObject((PyObject *)Py_TYPE(args[0]), args[0]);
    }
    else if (PyExceptionClass_Check(args[0])) {
        PyErr_SetObject(args[0], nargs > 1 ? args[1] : NULL);
    }
    else {
        PyErr_Format(PyExc_TypeError, "exceptions must be classes or "
                     "instances deriving from BaseException, not %s",
                     Py_TYPE(args[0])->tp_name);
    }
    return NULL;
}

static PyObject *
step_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    step_clear(op);
    Py_RETURN_NONE;
}

static PyMethodDef step_methods[] = {
    {"send", step_send_method, METH_O, NULL},
    {"throw", _PyCFunction_CAST(step_throw), METH_FASTCALL, NULL},
    {"close", step_close, METH_NOARGS, NULL},
    {NULL, NULL}
};

static PyType_Slot step_slots[] = {
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, step_send},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, step_iternext},
    {Py_tp_dealloc, step_dealloc},
    {Py_tp_traverse, step_traverse},
    {Py_tp_clear, step_clear},
    {Py_tp_methods, step_methods},
    {0, NULL},
};

PyType_Spec asyncio_step_spec = {
    .name = "_asyncio.Step",
    .basicsize = sizeof(StepObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
              | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = step_slots,
};

/* --- CoroutineMethod --- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *method;   /* strong; the method in C, as its type had it */
} CoroutineMethodObject;

static inline PyObject *
method_in_c(PyObject *op)
{
    return ((CoroutineMethodObject *)op)->method;
}

static PyObject *
coroutine_method_vectorcall(PyObject *op, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    PyObject *method = method_in_c(op);
    return ((PyMethodDescrObject *)method)->vectorcall(method, args, nargsf,
                                                       kwnames);
}

/* As fast as binding any method in C; what is bound has no mark.  */
static PyObject *
coroutine_method_bind(PyObject *op, PyObject *obj, PyObject *type)
{
    if (obj == NULL) {
        return Py_NewRef(op);
    }
    PyObject *method = method_in_c(op);
    if (PyObject_TypeCheck(obj, PyDescr_TYPE(method))) {
        return PyCFunction_New(((PyMethodDescrObject *)method)->d_method, obj);
    }
    return Py_TYPE(method)->tp_descr_get(method, obj, type);
}

/* What inspect.markcoroutinefunction() sets; who asks has imported that.  */
static PyObject *
coroutine_mark(PyObject *name)
{
    PyObject *inspect_name = PyUnicode_FromString("inspect");
    if (inspect_name == NULL) {
        return NULL;
    }
    PyObject *inspect = PyImport_GetModule(inspect_name);
    Py_DECREF(inspect_name);
    if (inspect == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetObject(PyExc_AttributeError, name);
        }
        return NULL;
    }
    PyObject *mark = PyObject_GetAttrString(inspect, "_is_coroutine_mark");
    Py_DECREF(inspect);
    return mark;
}

static PyObject *
coroutine_method_getattro(PyObject *op, PyObject *name)
{
    if (PyUnicode_EqualToUTF8(name, "_is_coroutine_marker")) {
        return coroutine_mark(name);
    }
    return PyObject_GetAttr(method_in_c(op), name);
}

static PyObject *
coroutine_method_repr(PyObject *op)
{
    return PyObject_Repr(method_in_c(op));
}

static int
coroutine_method_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(method_in_c(op));
    return 0;
}

static void
coroutine_method_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_DECREF(method_in_c(op));
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyMemberDef coroutine_method_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET,
     offsetof(CoroutineMethodObject, vectorcall), Py_READONLY},
    {NULL}
};

static PyType_Slot coroutine_method_slots[] = {
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, coroutine_method_bind},
    {Py_tp_getattro, coroutine_method_getattro},
    {Py_tp_repr, coroutine_method_repr},
    {Py_tp_dealloc, coroutine_method_dealloc},
    {Py_tp_traverse, coroutine_method_traverse},
    {Py_tp_members, coroutine_method_members},
    {0, NULL},
};

static PyType_Spec coroutine_method_spec = {
    .name = "_asyncio.CoroutineMethod",
    .basicsize = sizeof(CoroutineMethodObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
              | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR
              | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = coroutine_method_slots,
};

static int
mark_method(PyTypeObject *mark, PyTypeObject *type, const char *name)
{
    PyObject *methods = PyType_GetDict(type);
    PyObject *method = PyMapping_GetItemString(methods, name);
    CoroutineMethodObject *marked = NULL;
    if (method != NULL) {
        marked = PyObject_GC_New(CoroutineMethodObject, mark);
    }
    int res = -1;
    if (marked != NULL) {
        marked->vectorcall = coroutine_method_vectorcall;
        marked->method = Py_NewRef(method);
        PyObject_GC_Track((PyObject *)marked);
        res = PyDict_SetItemString(methods, name, (PyObject *)marked);
        PyType_Modified(type);
    }
    Py_XDECREF(marked);
    Py_XDECREF(method);
    Py_DECREF(methods);
    return res;
}

int
asyncio_mark_coroutines(PyObject *module, PyTypeObject *type)
{
    PyTypeObject *mark = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &coroutine_method_spec, NULL);
    if (mark == NULL) {
        return -1;
    }
    int res = 0;
    if (mark_method(mark, type, "__aenter__") < 0
        || mark_method(mark, type, "__aexit__") < 0) {
        res = -1;
    }
    Py_DECREF(mark);
    return res;
}
