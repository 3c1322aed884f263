set(check boundary) include(${CMAKE_CURRENT_LIST_DIR} / fault_test.cmake)

    expect(PASS examples /
           a.cpp "#include <tessera/conv/convolution.hpp>\nint main() {}  // the picture has more detail\n")
        expect(PASS docs / contributing.md "`x()` calls `detail::x()`, in the folders `detail/`\n" docs /
               a.md "A page.\n")
            expect("examples/a/b.cpp: #include <tessera/conv/detail/backend.hpp>" examples / a /
                   b.cpp "#include <tessera/conv/detail/backend.hpp>\n")
                expect("ts::detail::launch" examples / a.cu "int x[1]; ts::launch(k);\n")
                    expect("docs/a.md" docs / a.md "see `conv/detail/group_gemm.cuh`\n")
                        expect("README.md" README.md "`tessera::detail::for_each`\n")
                            expect("namespace detail" examples /
                                   a.cpp "namespace tessera::inline v0 {\nnamespace detail {}\n}\n")
                                expect("0 files read" include / tessera / a.hpp "")
