import pytest

from d2l_recsys.data.movies import read_movies


class TestUItem:
    def test_titles_are_latin_1_and_genres_are_flags(self, tmp_path):
        (tmp_path / "u.genre").write_text("unknown|0\nAction|1\n\n")
        (tmp_path / "u.item").write_bytes(
            "1|Misérables, Les (1995)|01-Jan-1995||http://x|0|1\n"
            '2|"Quoted" (1996)|||http://y|1|0\n'.encode("latin-1")
        )
        movies = read_movies(tmp_path)
        assert movies.loc[1, "title"] == "Misérables, Les (1995)"
        assert movies.loc[2, "title"] == '"Quoted" (1996)'
        assert movies["Action"].tolist() == [True, False]
        assert list(movies.columns) == ["title", "release_date", "unknown", "Action"]

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    def test_titles_may_be_utf_8(self, tmp_path, mark):
        (tmp_path / "u.genre").write_bytes(mark + "Comédie|0\n".encode())
        text = "1|Misérables, Les (1995)|||http://x|1\n2|\u96e8|||http://y|0\n"
        (tmp_path / "u.item").write_bytes(mark + text.encode())
        movies = read_movies(tmp_path)
        assert movies["title"].to_dict() == {1: "Misérables, Les (1995)", 2: "\u96e8"}
        assert movies["Comédie"].tolist() == [True, False]

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            ("2|A|||http://x|maybe", "unknown must be 0 or 1, not 'maybe'"),
            ("2|A|||http://x", "5 fields instead of 6"),
            ("2|A|||http://x|1|", "7 fields instead of 6"),
            ("1|A|||http://x|1", "item 1 already has a line"),
            ("0|A|||http://x|1", "item_id '0' is below 1"),
            ("2.0|A|||http://x|1", "item_id '2.0' is not a number"),
            ("2|A\tB|||http://x|1", r"'A\\tB' contains a control character"),
            ("", "1 fields instead of 6"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path, line, fault):
        (tmp_path / "u.genre").write_text("unknown|0\n")
        (tmp_path / "u.item").write_text(f"1|A|||http://x|1\n{line}\n")
        with pytest.raises(ValueError, match=rf"u\.item, line 2: {fault}"):
            read_movies(tmp_path)

    @pytest.mark.parametrize("line", ["|1", "title|1", "unknown|1", "A|2", "A", "A|1|"])
    def test_a_bad_genre_is_named(self, tmp_path, line):
        (tmp_path / "u.genre").write_text(f"unknown|0\n{line}\n")
        with pytest.raises(ValueError, match=r"u\.genre, line 2: "):
            read_movies(tmp_path)

    def test_words_for_nothing_are_titles_all_the_same(self, tmp_path):
        (tmp_path / "u.genre").write_text("unknown|0\n")
        (tmp_path / "u.item").write_text("1|NA|||http://x|1\n2|null|||http://x|0\n")
        assert read_movies(tmp_path)["title"].tolist() == ["NA", "null"]

    def test_the_real_ones(self, ml100k):
        movies = read_movies(ml100k)
        assert len(movies) == 1682
        assert movies.loc[1, "title"] == "Toy Story (1995)"
        genres = movies.loc[1].drop(["title", "release_date"])
        assert genres.index[genres.astype(bool)].tolist() == [
            "Animation",
            "Children's",
            "Comedy",
        ]


def listed(folder, name, content):
    (folder / name).write_bytes(content.encode("utf-8"))
    movies = read_movies(folder)
    assert list(movies.columns[:2]) == ["title", "release_date"]
    assert movies["release_date"].isna().all()
    genres = movies.drop(columns=["title", "release_date"])
    assert (genres.dtypes == "bool").all()
    return {
        item: (movies["title"][item], genres.columns[genres.loc[item]].tolist())
        for item in movies.index
    }


class TestMoviesDat:
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_ids_titles_and_genres(self, tmp_path, newline):
        text = "7::Se7en: A Film (1995)::War|Drama\n30::\u96e8 (1999)::Drama\n"
        assert listed(tmp_path, "movies.dat", text.replace("\n", newline)) == {
            7: ("Se7en: A Film (1995)", ["Drama", "War"]),
            30: ("\u96e8 (1999)", ["Drama"]),
        }

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
    def test_letters_of_either_encoding(self, tmp_path, encoding):
        text = "1::Mis\xe9rables, Les (1995)::Drama\n"
        (tmp_path / "movies.dat").write_bytes(text.encode(encoding))
        assert read_movies(tmp_path)["title"].tolist() == ["Mis\xe9rables, Les (1995)"]

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            ("2::A", "2 fields instead of 3"),
            ("2::A::Drama::War", "4 fields instead of 3"),
            ("2:A:Drama", "1 fields instead of 3"),
            ("", "1 fields instead of 3"),
            ("two::A::Drama", "item_id 'two' is not a number"),
            ("0::A::Drama", "item_id '0' is below 1"),
            ("1::A::Drama", "item 1 already has a line"),
            ("2::A\tB::Drama", r"'A\\tB' contains a control character"),
            ("2::A::", "'' is not a valid genre name"),
            ("2::A::Drama|", "'' is not a valid genre name"),
            ("2::A::title", "'title' is not a valid genre name"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path, line, fault):
        (tmp_path / "movies.dat").write_text(f"1::A::Drama\n{line}\n")
        with pytest.raises(ValueError, match=rf"movies\.dat, line 2: {fault}"):
            read_movies(tmp_path)


class TestMoviesCsv:
    def test_quotes_commas_and_no_genres(self, tmp_path):
        text = (
            "movieId,title,genres\n"
            "1,Toy Story (1995),Adventure|Children\n"
            '11,"American President, The (1995)",Drama\n'
            '94,"""Great"" Cats, Les Mis\xe9rables (1998)",Musical\n'
            "131,NA,(no genres listed)\n"
        )
        assert listed(tmp_path, "movies.csv", text) == {
            1: ("Toy Story (1995)", ["Adventure", "Children"]),
            11: ("American President, The (1995)", ["Drama"]),
            94: ('"Great" Cats, Les Mis\xe9rables (1998)', ["Musical"]),
            131: ("NA", []),
        }

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            ("2,A", "2 fields instead of 3"),
            ("2,A, The,Drama", "4 fields instead of 3"),
            ("", "0 fields instead of 3"),
            ('2,"A,Drama', "unexpected end of data in"),
            ('2,"A"B,Drama', "',' expected after '\"' in"),
            ("2,A\rB,Drama", "new-line character seen"),
            ("2,A,", "'' is not a valid genre name"),
            ("1,A,Drama", "item 1 already has a line"),
            ("movieId,title,genres", "item_id 'movieId' is not a number"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path, line, fault):
        text = f"movieId,title,genres\n1,A,Drama\n{line}\n3,B,War\n"
        (tmp_path / "movies.csv").write_bytes(text.encode())
        with pytest.raises(ValueError, match=rf"movies\.csv, line 3: {fault}"):
            read_movies(tmp_path)

    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    @pytest.mark.parametrize(
        "header", ["movieId,title,genres", '"movieId","title","genres"']
    )
    def test_the_header_as_other_programs_write_it(self, tmp_path, mark, header):
        text = f'{mark}{header}\n1,"Amélie, or not",Drama\n'
        assert listed(tmp_path, "movies.csv", text) == {
            1: ("Amélie, or not", ["Drama"])
        }

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("movie,title\n", "the header .* is missing; the line is 'movie,title'"),
            ("", "the header movieId,title,genres is missing"),
            ("1,A,Drama\n", "the header movieId,title,genres is missing"),
            ("movieId,title,genres\n", "the file has no movies"),
        ],
    )
    def test_without_header_or_movies(self, tmp_path, text, fault):
        (tmp_path / "movies.csv").write_text(text)
        with pytest.raises(ValueError, match=rf"movies\.csv, line 1: {fault}"):
            read_movies(tmp_path)
