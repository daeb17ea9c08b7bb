from .supervisors import Supervisor
class AbstractEventLoop:
    async def start_tls(
        self,
        transport: WriteTransport,
        protocol: BaseProtocol,
        sslcontext: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        buffered_data: ReadableBuffer = b"",
    ) -> Transport | None: ...
    def create_supervisor(
        self,
        *,
        name: object = None,
        failure_handler: Callable[[dict[str, Any]], object] | None = None,
    ) -> Supervisor: ...
