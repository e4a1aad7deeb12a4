"""The `liandong` command."""

import asyncio
import json
import os
import signal
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import grpc
import typer
from rich.console import Console
from rich.table import Table

from deploy.demo import run as demo_run
from deploy.local import audit as audits
from deploy.local import places
from deploy.local.client import Institution, credentials_in
from deploy.local.household_file import FileError, Report, import_file
from deploy.local.processes import StartError, read_pid, ticks
from deploy.local.stack import Stack
from liandong.common.v1 import operator_pb2, operator_pb2_grpc
from services.kernel import wire
from services.kernel.status import reason_of
from services.programmes.loader import PackErrors, load
