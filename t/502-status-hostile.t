# Licensed under the Apache License, Version 2.0; see LICENSE.

# Nothing that a certificate, a URL, a query or a header says becomes part of a
# page, of a header or of a log line; and what cannot be understood is refused
# with the list of what there is.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;

my $xss = q{<script>alert(1)</script>"'&};
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $good = $ca->leaf(name => 'good.test', ocsp => $responder->url);
# In subject and names, and as responder: what no honest CA would sign.
my $evil = $ca->_issue(
    file => 'evil', subject => '/CN=evil.test/O=<b>"x"<\/b>',
    key => $ca->_key('leaf-ec-key', 'ec'),
    ext => "basicConstraints=CA:FALSE\n"
        . "subjectAltName=\@alt\nauthorityInfoAccess=\@aia\n"
        . "[alt]\nDNS.1=<script>alert(1)</script>\nDNS.2=evil.test\n"
        . "[aia]\nOCSP;URI.0=http://127.0.0.1:1/?a=1&b=</td><script>x\n"
        . 'OCSP;URI.1=' . $responder->url("/?a=1&b=%22%27&lt;") . "\n"
        . "OCSP;URI.2=javascript:alert(1)\n",
    issuer => $ca->{intermediate});
$evil->{chain} = write_file('evil-chain.pem',
    read_file($evil->{cert}) . read_file($ca->{intermediate}{cert}));
$evil->{conf} = "SSLCertificateFile $evil->{chain}\n"
    . "SSLCertificateKeyFile $evil->{key}\n";

# A responder that has words of its own: where it sends us, and what it says of
# its response.
my $wordy = Staple::Responder->new($ca);
my $told = $ca->leaf(name => 'told.test', ocsp => $wordy->url);
$wordy->tell('redirect http://%3Cscript%3E<script>alert(1)</script>"\',/x 302');
$wordy->tell($_) for 'etag "<script>&"', 'type text/html;<script>"',
    'header Retry-After: <script>', 'header Warning: <script>';

my $httpd = Staple::Httpd->new(
    ports => 2, modules => ['status'],
    conf  => stapling(status_conf(), 'StapleStatusActions on', 'StapleWarmup 0',
                      '<Location /server-status>',
                      'SetHandler server-status', '</Location>'),
    vhosts => [{ cert => $good }, { cert => $told },
               { cert => $evil, name => 'evil.test' }]);
$httpd->start;
my $status = Staple::Status->new($httpd);
ok(wait_for(sub {
    my ($cert) = grep { $_->{name} =~ /script/ }
        @{ $status->json->{certificates} };
    $cert && $cert->{outcome};
}), 'the evil certificate is there');
my ($cert) = grep { $_->{name} =~ /script/ } @{ $status->json->{certificates} };
is($cert->{name}, '<script>alert(1)</script>', 'with its name in JSON');

ok(wait_for(sub { ($status->cert('told.test')->{cause} // '') =~ /redirect/ }),
   'the responder with words of its own was heard');

# Pages.
my $encoded = $xss =~ s/(\W)/sprintf '%%%02X', ord $1/ger;
my %page = (
    page => $status->page, certificate => $status->page("id=$cert->{id}"),
    told => $status->page('id=' . $status->cert('told.test')->{id}),
    filtered => $status->page("q=$encoded"),
    found => $status->page('q=%3Cscript'),
    section => $status->ask(undef, path => '/server-status')->{body},
);
for my $name (sort keys %page) {
    unlike($page{$name}, qr/<script|<b>"/, "$name: no element of theirs");
    is(Staple::Status::html_is_balanced($page{$name}), undef,
       "$name: the page is whole") if $name ne 'section';
}
my $escaped = '&lt;script&gt;alert(1)&lt;/script&gt;&quot;\'&amp;';
like($page{filtered}, qr/value="\Q$escaped\E"/,
     'the words looked for are shown, escaped');
like($page{found}, qr/&lt;script&gt;alert/, 'and what was found too');
my $head = $status->ask('')->{head};
like($head->{'content-security-policy'},
     qr/^default-src 'none'; style-src 'sha256-/,
     'the policy allows nothing but our style');
unlike($page{page}, qr/ style=| on\w+=|https?:\/\/(?!127)[^<]*"/,
       'the page has no style attribute, no handler, no foreign address');
is($head->{'cache-control'}, 'no-store', 'nothing is stored');
is($head->{'x-content-type-options'}, 'nosniff', 'nothing is guessed');

# Lines.
my @lines = split /\n/, $status->page('metrics&detail');
ok(index($status->page('metrics&detail'), 'O=%3Cb%3E%22x%22%3C/b%3E') > 0,
   'names in labels have neither quotes nor backslashes');
my $labels = qr/\{(?:\w+="(?:[^"\\]|\\.)*",?)*\}/;
is(join("\n", grep { !/^(?:#|staple_\w+$labels? -?[\d.]+$)/ } @lines), '',
   'every metric is a line of its form');
is(join("\n", grep { !/^Staple\w+(?:\[\w+\])?: / }
                  split /\n/, $status->page('auto')), '', 'every line too');

# Queries that nobody understands.
my @bad = ('bogus', 'json=1', 'q', 'q=%', 'q=%zz', 'q=%00', 'page=0', 'page=-1',
           'page=x', 'page=', 'page=99999999999999999999', 'show=', 'show=x',
           'json&metrics', 'json&json', 'q=a&q=b', 'metrics&page=2', 'json&detail', 'der',
           'json&page=1', 'done=x', 'ask=x', 'state=x', '=', "%0d%0aX-Evil:1", $encoded,
           'id', "\x80\xff");
for my $query (@bad) {
    my $answer = $status->ask($query);
    my $what = $query =~ s/[^ -~]/?/gr;

    is($answer->{status}, 400, "?$what is refused") or diag $answer->{raw};
    next if $answer->{status} != 400;
    my $is_listed = $answer->{body} =~ /There is:\n  json /
        || $query =~ /[\x80-\xff]|%00/;
    ok($is_listed, '... with what there is');
    unlike($answer->{raw}, qr/^X-Evil/m, '... and no header of theirs');
}
is($status->ask("id=$_")->{status}, 404, "?id=$_ is nothing")
    for 'x', '', '00', 'F' x 63, 'A' x 64, 'A' x 1000, '..%2f';
is($status->ask('q=%ff%fe')->{status}, 200, 'odd bytes are words like others');
is($status->ask($_)->{status}, 200, "?$_ is fine")
    for '', 'metrics=', 'q=', 'q=a+b&show=all&page=1', 'serial=FF',
        'page=999999', '&&';

# Methods.
for my $query ('', 'json', 'metrics', 'auto', "der=$cert->{id}", 'bogus') {
    my $head = $status->ask($query, method => 'HEAD');
    my $get = $status->ask($query);

    is($head->{body}, '', "HEAD ?$query has no body");
    is("$head->{status} $head->{head}{'content-type'}",
       "$get->{status} $get->{head}{'content-type'}", '... but GET\'s head');
}
for my $method (qw(PUT DELETE PATCH OPTIONS PROPFIND)) {
    my $answer = $status->ask('', method => $method);

    is($answer->{status}, 405, "$method is not allowed");
    like($answer->{head}{allow}, qr/^(?=.*\bGET\b)(?=.*\bPOST\b)/,
         '... and what is');
}

# Headers.
my $answer = $status->ask('', headers => {
    Host => 'x"><script>', 'User-Agent' => $xss, Referer => $xss,
    'X-Forwarded-For' => $xss });
unlike($answer->{body}, qr/<script/, 'no header of a request is shown');

unlike($httpd->error_log, qr/told\.test.*<script/,
       "nor is a responder's, in the log");
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error|crit)\]/, qr/AH01909/);

done_testing;
