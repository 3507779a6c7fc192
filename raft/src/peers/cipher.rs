//! The cipher of the peer port: TLS 1.3 (RFC 8446) with certificates that are made at the start and thrown away.
//!
//! Nobody trusts a certificate here. It only carries the key of one handshake; that the other end is one of us is proven
//! afterwards, over a value that TLS exports and that no relay can have on both sides ([`super::handshake`]).

#[cfg(not(feature = "sim"))]
pub(crate) use real::{Cipher, Stream};
#[cfg(feature = "sim")]
pub(crate) use simulated::{Cipher, Stream};

#[cfg(not(feature = "sim"))]
mod real {
    use std::fmt;
    use std::io;
    use std::sync::Arc;

    use rustix::io::Errno;
    use rustix::net::RecvFlags;
    use rustls::client::Resumption;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::TcpStream;
    use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

    use super::super::handshake::Binding;
    use super::super::refusals::{Reason, Turned};

    /// What a connection's bytes go through. TLS asks for 4 KiB at once; the buffer saves it the calls.
    pub(crate) type Stream = TlsStream<BufReader<TcpStream>>;

    /// Bytes read ahead of TLS, a connection.
    const AHEAD: usize = 32 << 10;
    /// What the two ends name the value that they take out of TLS (RFC 8446 §7.5; a name for private use, RFC 5705 §4).
    const EXPORTED: &[u8] = b"EXPERIMENTAL tidings peers";
    /// The name in the certificates. It means nothing.
    const NAME: &str = "tidings.invalid";
    /// The first byte of a TLS record that carries a handshake.
    const HANDSHAKE: u8 = 22;
    /// How peers began to talk before there was a cipher.
    const UNCIPHERED: &[u8] = b"tdg1";

    /// Makes ciphered connections out of plain ones.
    pub(crate) struct Cipher {
        connector: TlsConnector,
        acceptor: TlsAcceptor,
        name: ServerName<'static>,
    }

    impl fmt::Debug for Cipher {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Cipher")
        }
    }

    impl Cipher {
        /// Makes a key and a certificate for the life of this process.
        ///
        /// # Errors
        /// In words, when there is no randomness.
        pub(crate) fn new() -> Result<Self, String> {
            let text = |error: &dyn fmt::Display| format!("no certificate for the peer port: {error}");
            let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(|e| text(&e))?;
            let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
            let provider = Arc::new(ring::default_provider());
            let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(|e| text(&e))?
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .map_err(|e| text(&e))?;
            // Every connection is proven anew.
            server.send_tls13_tickets = 0;
            let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(|e| text(&e))?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
                .with_no_client_auth();
            client.resumption = Resumption::disabled();
            let name = ServerName::try_from(NAME).map_err(|e| text(&e))?;
            Ok(Self { connector: Arc::new(client).into(), acceptor: Arc::new(server).into(), name })
        }

        /// Ciphers a connection we made.
        pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<(Stream, Binding)> {
            let stream = self.connector.connect(self.name.clone(), BufReader::with_capacity(AHEAD, stream)).await;
            let stream = stream.map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::InvalidData => {
                    io::Error::new(
                        error.kind(),
                        format!("it does not speak TLS 1.3 as peers do, or refused us: {error}"),
                    )
                }
                _ => error,
            })?;
            let binding = stream.get_ref().1.export_keying_material([0; 32], EXPORTED, None);
            Ok((stream.into(), binding.map_err(io::Error::other)?))
        }

        /// Ciphers a connection that was made to us.
        pub(crate) async fn accept(&self, stream: TcpStream) -> Result<(Stream, Binding), Turned> {
            let silent = |error: io::Error| Turned::new(Reason::Silent, error.to_string());
            let mut stream = BufReader::with_capacity(AHEAD, stream);
            match stream.fill_buf().await.map_err(silent)? {
                [] => return Err(Turned::new(Reason::Silent, "it ended before it said anything")),
                [HANDSHAKE, ..] => {}
                start if start.starts_with(UNCIPHERED) => {
                    let why = "it is a node of an older version, whose connections are not ciphered: start it with this version";
                    return Err(Turned::new(Reason::Protocol, why));
                }
                _ => return Err(Turned::new(Reason::Protocol, "it does not speak TLS")),
            }
            // A node that was frozen wakes up to connections that peers gave up long ago. They cost nothing and count for
            // nothing against those peers.
            if has_ended(stream.get_ref()) {
                return Err(Turned::new(Reason::Silent, "it was given up before it was taken"));
            }
            let stream = self.acceptor.accept(stream).await;
            let stream = stream.map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => Turned::new(Reason::Protocol, error.to_string()),
                _ => Turned::new(Reason::Unproven, error.to_string()),
            })?;
            let binding = stream.get_ref().1.export_keying_material([0; 32], EXPORTED, None);
            Ok((stream.into(), binding.map_err(|error| Turned::new(Reason::Protocol, error.to_string()))?))
        }
    }

    /// Whether the other end has said everything it will ever say, and all of it was read.
    fn has_ended(stream: &TcpStream) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(stream, &mut [0_u8; 1], flags) {
            Ok((_, more)) => more == 0,
            Err(error) => error != Errno::AGAIN,
        }
    }

    /// Takes any certificate, but only from whoever has its key.
    #[derive(Debug)]
    struct Anybody(Arc<CryptoProvider>);

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("peers speak TLS 1.3 only".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use std::io;

    use super::super::handshake::Binding;
    use super::super::refusals::Turned;
    use crate::base::net::TcpStream;

    /// A simulated network has no eavesdroppers and its bytes must follow from the seed: no cipher, the same handshake.
    pub(crate) type Stream = TcpStream;

    #[derive(Debug)]
    pub(crate) struct Cipher;

    impl Cipher {
        pub(crate) fn new() -> Result<Self, String> {
            Ok(Self)
        }

        pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<(Stream, Binding)> {
            Ok((stream, [0; 32]))
        }

        pub(crate) async fn accept(&self, stream: TcpStream) -> Result<(Stream, Binding), Turned> {
            Ok((stream, [0; 32]))
        }
    }
}
