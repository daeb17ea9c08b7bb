class SSLProtocol:
    def _fatal_error(
        self, exc: BaseException, message: str = "Fatal error on transport", is_of_app: bool = False
    ) -> None: ...
